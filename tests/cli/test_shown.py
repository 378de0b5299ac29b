"""The commands that only show: the same rows for people and for programs."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import orjson
import pytest

from rcache.cli import main
from rcache.core.views import Counters, TagRow
from tests.cli.support import Told, row, told

__all__ = ["told"]  # a fixture

Captured = pytest.CaptureFixture[str]


def shown(capsys: Captured, *arguments: str, code: int = 0) -> str:
    """What the command writes."""
    assert main(arguments) == code, capsys.readouterr().err
    out, err = capsys.readouterr()
    assert err == ""
    assert all(line == line.rstrip() for line in out.splitlines())
    return out


def read(capsys: Captured, *arguments: str, code: int = 0) -> Any:
    """What it tells programs."""
    return orjson.loads(shown(capsys, *arguments, "--json", code=code))


def refused(capsys: Captured, *arguments: str, code: int = 2) -> str:
    """The line that says why it does not work."""
    assert main(arguments) == code
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    return err.removeprefix("rcache: ").rstrip()


def test_stats_add_up_what_all_nodes_count(told: Told, capsys: Captured) -> None:
    text = shown(capsys, "stats")
    assert "2 nodes, since each node began" in text
    assert "/pages/{title}       200      75.0 %" in text
    total = read(capsys, "stats")["total"]
    assert (total["hits"], total["misses"], total["purges"]) == (142, 42, 6)


def test_stats_say_how_many_hits_were_audited_and_found_stale(told: Told, capsys: Captured) -> None:
    assert re.search(r"^audits +0$", shown(capsys, "stats"), re.MULTILINE)
    counters = Counters(hits=9000, audits_same=1996, audits_stale=3, audits_excused=1, audits_failed=4)
    told.node_rows = [replace(told.node_rows[0], counters=counters)]
    assert re.search(r"^audits +2,004, 3 stale \(0\.15 %\)$", shown(capsys, "stats"), re.MULTILINE)


def test_routes_come_with_the_busiest_first(told: Told, capsys: Captured) -> None:
    routes = read(capsys, "stats")["routes"]
    assert [(each["route"], each["counters"]["hits"]) for each in routes] == [("/pages/{title}", 140), ("/lists", 2)]


def test_stats_of_the_last_minutes_are_those_of_the_history(told: Told, capsys: Captured) -> None:
    assert read(capsys, "stats", "--last", "2m")["total"]["hits"] == 960
    assert "within the last 2m" in shown(capsys, "stats", "--last", "2m")
    assert "--last" in refused(capsys, "stats", "--last", "soon")


def test_without_nodes_it_says_what_to_look_for(told: Told, capsys: Captured) -> None:
    told.node_rows = []
    assert "Does the application run" in shown(capsys, "stats")
    assert read(capsys, "stats")["nodes"] == []


def test_tags_are_listed_with_where_the_next_ones_begin(told: Told, capsys: Captured) -> None:
    told.tag_rows = [TagRow("page:tea", 2, 42, holders=1, size=2048), TagRow("lists", 1, None)]
    assert "page:tea         2           42         1   2.00 KiB" in shown(capsys, "tags")
    assert "lists" not in shown(capsys, "tags", "tea")
    told.cursor = "17"
    assert "--cursor 17" in shown(capsys, "tags")
    assert read(capsys, "tags", "tea") == {
        "tags": [{"tag": "page:tea", "entries": 2, "mark": 42, "holders": 1, "size": 2048}],
        "cursor": "17",
    }
    assert "--count" in refused(capsys, "tags", "--count", "0")


def test_no_tag_is_said_to_be_none(told: Told, capsys: Captured) -> None:
    assert shown(capsys, "tags") == "no entry carries a tag\n"
    assert shown(capsys, "tags", "x\x1b[2J") == "no tag contains 'x\\x1b[2J'\n"


def test_one_entry_is_shown_in_full(told: Told, capsys: Captured) -> None:
    told.rows = [row("e1", tags=("page:tea", "page"))]
    for url in ("/pages/tea", "http://shop.test/pages/tea", "HTTP://Shop.test/pages/tea#top"):
        text = shown(capsys, "show", url)
        assert "content-type: text/html" in text
        assert "2027-01-15 08:00:00 UTC by a1 (commit: update page:tea), number 42" in text
    view = read(capsys, "show", "/pages/tea")["entries"][0]
    assert (view["row"]["tags"], view["headers"], view["body"]) == (
        ["page:tea", "page"],
        [["content-type", "text/html"]],
        None,
    )


def test_several_are_a_table_from_which_one_is_chosen(told: Told, capsys: Captured) -> None:
    told.rows = [row("e1", variant=(("accept", "text/html"),)), row("-e2", state="purged", identity=True)]
    text = shown(capsys, "show", "/pages/tea")
    assert "accept: text/html" in text
    assert "(somebody's own)" in text
    assert "One in full: --entry e1" in text
    assert "content-type" in shown(capsys, "show", "/pages/tea", "--entry", "-e2")
    assert [view["row"]["entry"] for view in read(capsys, "show", "/pages/tea")["entries"]] == ["e1", "-e2"]
    assert "choose by --entry, of e1, -e2" in refused(capsys, "show", "/pages/tea", "--body")


def test_a_body_is_written_as_it_is(told: Told, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    told.rows = [row("e1")]
    told.bodies = {"e1": b"\xff\x00\x1b[2J"}
    assert main(["show", "/pages/tea", "--body"]) == 0
    assert capsysbinary.readouterr().out == b"\xff\x00\x1b[2J"
    assert main(["show", "/pages/tea", "--body", "--json"]) == 0
    assert orjson.loads(capsysbinary.readouterr().out)["entries"][0]["body"] == {"base64": "/wAbWzJK"}


def test_what_is_one_users_is_shown_only_where_that_is_asked_for(told: Told, capsys: Captured) -> None:
    told.rows = [row("e1", identity=True)]
    assert "--private" in refused(capsys, "show", "/pages/tea", "--body")
    assert shown(capsys, "show", "/pages/tea", "--body", "--private") == "<p>tea</p>"


def test_nothing_stored_is_told_by_the_exit_code(told: Told, capsys: Captured) -> None:
    assert shown(capsys, "show", "/nothing", code=1) == "nothing is stored of /nothing\n"
    assert read(capsys, "show", "/nothing", code=1) == {"entries": []}
    assert refused(capsys, "show", "/nothing", "--body", code=1) == "nothing is stored of /nothing"


@pytest.mark.parametrize(
    "url", ["pages", "//host", "ftp://host/x", "http://", "http://host:x/", "/a b", "/\x1b", "[", ""]
)
def test_what_is_no_url_is_refused(told: Told, capsys: Captured, url: str) -> None:
    for arguments in (("show", url), ("purge", "--page", url)):
        assert "write" in refused(capsys, *arguments)


def test_the_log_is_told_oldest_first(told: Told, capsys: Captured) -> None:
    lines = shown(capsys, "tail", "--no-follow").splitlines()
    assert lines == [
        "2027-01-15 08:00:00  purge       page:tea, page  1 entry  commit on a1  update page:tea",
        "2027-01-15 08:00:01  hold        page:tea  commit on b2",
    ]
    # What is told of before and again is shown once.
    assert [line.split()[2] for line in shown(capsys, "tail", "--last", "1").splitlines()] == ["hold", "purge"]
    told.event_rows = told.event_rows * 2
    rows = [orjson.loads(line) for line in shown(capsys, "tail", "--last", "0", "--purges", "--json").splitlines()]
    assert [(each["kind"], each["number"]) for each in rows] == [("purge", 42), ("purge", 42)]


def test_top_is_shown_once_where_there_is_no_terminal(told: Told, capsys: Captured) -> None:
    told.rows = [row("e1", hits=9)]
    for arguments in (["top"], ["top", "--once"]):
        text = shown(capsys, *arguments)
        assert "10.0 a second" in text
        assert "80.0 % now, 80.0 % in the last minute" in text
        assert "2, of which 1 cannot reach the store or have purges waiting" in text
        assert "http://shop.test/pages/tea" in text
        assert "update page:tea" in text
    moment = read(capsys, "top", "--once")
    assert (moment["rate"]["requests"], moment["minute"]["hits"], moment["hottest"][0]["hits"]) == (10.0, 480, 9)
    assert "--every" in refused(capsys, "top", "--every", "never")


def test_what_a_purge_would_reach_is_shown_and_stays(told: Told, capsys: Captured) -> None:
    told.rows = [row("e1"), row("e2", url="http://shop.test/pages/mate", tags=("page:mate",))]
    text = shown(capsys, "purge", "--dry-run", "page:tea", "--page", "/pages/mate")
    assert "Nothing was purged" in text
    assert "at most 2 entries" in text
    found = read(capsys, "purge", "--dry-run", "page:tea", "--page", "/pages/mate")
    assert [each["entry"] for each in found["entries"]] == ["e2", "e1"]
    assert found["count"] == 2
    assert "no entry would go" in shown(capsys, "purge", "--dry-run", "page:none")


def test_a_long_preview_is_cut_for_people_alone(told: Told, capsys: Captured) -> None:
    told.rows = [row(f"e{number}") for number in range(30)]
    assert "at most 30 entries, 10 not shown here" in shown(capsys, "purge", "--dry-run", "page:tea")
    assert len(read(capsys, "purge", "--dry-run", "page:tea")["entries"]) == 30


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "Name tags, or --page URL"),
        ([""], "is empty"),
        (["a\nb"], "no control characters"),
        (["x" * 513], "longer than 512 bytes"),
        (["--soft", "--page", "/x"], "--soft is for tags"),
        (["--hard", "x"], "No such option: --hard"),
    ],
)
def test_what_cannot_be_purged_is_refused(told: Told, capsys: Captured, arguments: list[str], reason: str) -> None:
    assert reason in refused(capsys, "purge", *arguments)


def test_foreign_text_is_no_markup_and_moves_no_cursor(told: Told, capsys: Captured) -> None:
    told.tag_rows = [TagRow("[red]x[/red]\x1b[2J", 1, None)]
    assert "[red]x[/red]\\x1b[2J" in shown(capsys, "tags")
