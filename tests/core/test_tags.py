from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from types import SimpleNamespace
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rcache.core.errors import ConfigurationError, RCacheError
from rcache.core.keys import URL_TAG
from rcache.core.tags import MAX_TAG_BYTES, TagError, Template, check_tag


class Colour(StrEnum):
    RED = "red"


class Size(Enum):
    LARGE = "L"
    UNKNOWN = None
    PAIR = (1, 2)


class Level(IntEnum):
    HIGH = 3


def no_query(name):
    return None


@pytest.mark.parametrize(
    "tag", ["user:42", "a", " ", "user 42", "größe:ü", "日本", "😀" * 128, "x" * 512, "{}", "a\xa0b", "*"]
)
def test_a_legal_tag_comes_back_as_it_is(tag):
    assert check_tag(tag) is tag


@pytest.mark.parametrize(
    ("tag", "reason"),
    [
        ("", "empty"),
        ("x" * 513, "longer than 512"),
        ("😀" * 129, "longer than 512"),
        ("é" * 257, "longer than 512"),
        ("a\nb", r"\\n"),
        ("\x00", r"\\x00"),
        ("a\x1f", r"\\x1f"),
        ("\x7f", r"\\x7f"),
        ("\x85", r"\\x85"),
        ("\x9f", r"\\x9f"),
        ("\ud800", r"\\ud800"),
        ("a\udfff", r"\\udfff"),
        ("\u2028", r"\\u2028"),
        ("\u2029", r"\\u2029"),
        ("x" * 600 + "\n", r"\\n"),
        (URL_TAG + "s", r"\\x1f"),
    ],
)
def test_an_illegal_tag_is_a_value_error_that_names_tag_and_reason(tag, reason):
    with pytest.raises(ValueError, match=reason) as caught:
        check_tag(tag)
    assert isinstance(caught.value, RCacheError)
    assert ascii(tag[:70])[:-1] in str(caught.value)
    assert str(caught.value).isascii()


@pytest.mark.parametrize("tag", [None, 42, b"user:42", ["user:42"]])
def test_what_is_no_string_is_a_type_error(tag):
    with pytest.raises(TypeError, match=type(tag).__name__):
        check_tag(tag)


def test_a_string_of_a_subclass_becomes_a_plain_one():
    assert type(check_tag(Colour.RED)) is str
    assert check_tag(Colour.RED) == "red"


@given(
    st.text(st.characters(), max_size=200)
    | st.text(st.characters(categories=["Cs", "Cc", "Zl", "Zp", "Lu"]), max_size=4)
)
def test_a_tag_is_legal_by_the_rule_and_no_other(tag):
    controls = any(
        ord(c) < 32 or 127 <= ord(c) < 160 or ord(c) in (0x2028, 0x2029) or 0xD800 <= ord(c) < 0xE000 for c in tag
    )
    is_legal = bool(tag) and not controls and len(tag.encode("utf-8", "surrogatepass")) <= MAX_TAG_BYTES
    try:
        assert check_tag(tag) == tag
    except TagError:
        assert not is_legal
    else:
        assert is_legal


def test_a_template_is_filled_with_parameters_of_route_and_query():
    template = Template("user:{user_id}:page:{query.page}:{query.filter[name].x}")
    assert template.names == {"user_id"}
    assert template.query_names == {"page", "filter[name].x"}
    query = {"page": "2", "filter[name].x": "a"}
    assert template.fill({"user_id": 42, "other": 1}, query.get) == "user:42:page:2:a"


def test_doubled_braces_are_literal():
    assert Template("{{a}}:{b}:{{{b}}}").fill({"b": 1}, no_query) == "{a}:1:{1}"


def test_a_template_without_names_is_a_tag():
    template = Template("books")
    assert template.names == template.query_names == frozenset()
    assert template.fill({}, no_query) == "books"


def test_a_parameter_called_query_is_a_parameter():
    assert Template("search:{query}").fill({"query": "tea"}, no_query) == "search:tea"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("042", "042"),
        ("", ""),
        (42, "42"),
        (True, "True"),
        (1.5, "1.5"),
        (Decimal("1.50"), "1.50"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (date(2024, 2, 29), "2024-02-29"),
        (datetime(2024, 2, 29, 12, tzinfo=UTC), "2024-02-29 12:00:00+00:00"),
        (time(12, 30), "12:30:00"),
        (Colour.RED, "red"),
        (Size.LARGE, "L"),
        (Level.HIGH, "3"),
    ],
)
def test_scalars_are_written_as_an_f_string_writes_them_and_enums_by_value(value, text):
    assert Template("t:{value}").fill({"value": value}, no_query) == f"t:{text}"


@pytest.mark.parametrize(
    "value",
    [None, [1], {}, (1,), b"x", object(), Size.UNKNOWN, Size.PAIR, 1j, 10**5000, "a\nb", "x" * 600, "\ud800"],
    ids=lambda value: type(value).__name__,
)
def test_a_value_that_makes_no_tag_is_a_tag_error(value):
    with pytest.raises(TagError):
        Template("t:{value}").fill({"value": value}, no_query)


@pytest.mark.parametrize("text", ["t:{value}", "t:{query.value}"])
def test_an_absent_value_is_a_tag_error_that_names_it(text):
    with pytest.raises(TagError, match="value"):
        Template(text).fill({}, no_query)


def test_an_empty_value_alone_makes_no_tag():
    with pytest.raises(TagError, match="empty"):
        Template("{value}").fill({"value": ""}, no_query)


@pytest.mark.parametrize(
    "text",
    [
        *("{", "}", "a{b", "a}b", "{a}}", "{{a}", "{a{b}}", "{}", "{ }", "{0}", "{a b}", "{a-b}", "{ a}"),
        *(
            "{a.b}",
            "{a[0]}",
            "{a!r}",
            "{a:02d}",
            "{a=}",
            "{query.}",
            "{query.a:02}",
            "{query.a!r}",
            "{query.a b}",
            "{.a}",
        ),
        *("", "a\nb", "a\nb{c}", "x" * 513, "x" * 513 + "{c}", "\ud800{c}"),
    ],
)
def test_a_malformed_template_is_a_configuration_error_that_names_it(text):
    with pytest.raises(ConfigurationError, match="tag template") as caught:
        Template(text)
    assert ascii(text[:70])[:-1] in str(caught.value)


@pytest.mark.parametrize("text", [None, b"user:{id}", 42])
def test_a_template_that_is_no_string_is_a_configuration_error(text):
    with pytest.raises(ConfigurationError, match=type(text).__name__):
        Template(text)


@given(st.lists(st.sampled_from(["{{", "}}", "{a}", "{query.b}", "{", "}", "x", "\n", "."]), max_size=8).map("".join))
def test_any_text_is_a_template_that_fills_or_a_configuration_error(text):
    try:
        template = Template(text)
    except ConfigurationError:
        return
    if template.names <= {"a"} and template.query_names <= {"b"}:
        expected = text.format(a="1", query=SimpleNamespace(b="2"))
        assert template.fill({"a": "1"}, {"b": "2"}.get) == expected


@given(st.text(max_size=20).filter(lambda text: text.isprintable()))
def test_escaped_text_is_its_own_template(text):
    template = Template("t:" + text.replace("{", "{{").replace("}", "}}"))
    assert template.fill({}, no_query) == "t:" + text
