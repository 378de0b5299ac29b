"""What SQL in text form is taken for, by its words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rcache.integrations.sqlalchemy.sql import read


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("SELECT * FROM book", "read"),
        ("select * from book for update", "read"),
        ("SELECT * FROM book FOR NO KEY  UPDATE SKIP LOCKED", "read"),
        ("SELECT replace(title, 'a', 'b') FROM book", "read"),
        ("SELECT * FROM book WHERE title = 'into the wild; delete it'", "read"),
        ("-- update book\nSELECT 1 /* delete\nfrom book */", "read"),
        ("BEGIN", "read"),
        ("SAVEPOINT x", "read"),
        ("ROLLBACK TO SAVEPOINT x", "read"),
        ("ROLLBACK", "rollback"),
        ("COMMIT", "commit"),
        ("END", "commit"),
        ("UPDATE book SET a = 1", "write"),
        ("  (insert into book values (1))", "write"),
        ("WITH gone AS (DELETE FROM book RETURNING *) SELECT * FROM gone", "write"),
        ("EXPLAIN ANALYZE UPDATE book SET a = 1", "write"),
        ("SELECT 1; DELETE FROM book", "write"),
        (r"SELECT E'\' update book set a = '", "write"),
        ("REPLACE book VALUES (1)", "write"),
        ("COPY book FROM STDIN", "write"),
        ("MERGE INTO book USING x ON true", "write"),
        ("SELECT * INTO copied FROM book", "write"),
        ("TRUNCATE book", "schema"),
        ("ALTER TABLE book ADD COLUMN x int", "schema"),
        ("drop table book", "schema"),
        ("CALL tidy()", "anything"),
        ("DO $$ BEGIN PERFORM 1; END $$", "anything"),
        ("", "read"),
    ],
)
def test_what_a_text_does(text: str, kind: str) -> None:
    assert read(text).kind == kind


@given(st.text(), st.sampled_from(["insert into book", "UPDATE book", "delete from book"]))
def test_a_text_of_any_beginning_that_writes_without_quotes_is_no_read(beginning: str, write: str) -> None:
    if not any(mark in beginning for mark in ("'", "--", "/*", "for", "FOR", "For")):
        assert read(f"{beginning} {write}").kind != "read"


@given(st.text())
def test_every_text_can_be_read(text: str) -> None:
    assert read(text).first in read(text).words | {""}
