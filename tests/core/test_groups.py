import subprocess
import sys

import pytest
from http_sf import parse, ser
from hypothesis import given
from hypothesis import strategies as st

from rcache.core.groups import MAX_FIELD_BYTES, MAX_GROUPS, export, groups, invalidated, parser
from rcache.core.keys import URL_TAG
from rcache.core.tags import MAX_TAG_BYTES, TagError, check_tag


def lines(*values, name=b"Cache-Groups"):
    return [(name, value) for value in values]


def purge(*values):
    return invalidated(lines(*values, name=b"cache-Group-Invalidation"))


def is_tag(text):
    try:
        return bool(check_tag(text))
    except TagError:
        return False


tags = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8).filter(is_tag) | st.sampled_from(
    ["%", "%25", "%C3%BC", "%c3%bc", "ü%", '"', "\\", 'a"b\\c', " a ", "a, b", "größe:ü", "日本", "😀"]
)


@pytest.mark.parametrize(
    ("given_tags", "field"),
    [
        ([], None),
        (["a"], b'"a"'),
        (["user:42", "list:users"], b'"user:42", "list:users"'),
        (["b", "a", "b"], b'"b", "a"'),
        (['say "hi"', "back\\slash"], rb'"say \"hi\"", "back\\slash"'),
        (["100%", "%C3%BC"], b'"100%", "%C3%BC"'),
        (["größe:ü"], b'"gr%C3%B6%C3%9Fe:%C3%BC"'),
        (['ü 100% "x\\'], rb'"%C3%BC 100%25 \"x\\"'),
        (["ü", "%C3%BC"], b'"%C3%BC"'),
        ([URL_TAG + "digest"], None),
        ([URL_TAG + "digest", "a"], b'"a"'),
    ],
)
def test_tags_are_exported_as_a_list_of_strings(given_tags, field):
    assert export(given_tags) == field


def test_as_many_tags_of_such_a_length_as_every_cache_supports_are_exported():
    """RFC 9875 §2."""
    minimum = [f"{number:032}" for number in range(32)]
    assert groups(lines(export(minimum))) == tuple(minimum)


def test_a_list_too_long_for_the_field_is_not_exported_at_all():
    numbers = [str(number) for number in range(MAX_GROUPS)]
    assert export(numbers) is not None
    assert export([*numbers, "x"]) is None
    assert export([*numbers, numbers[0]]) is not None
    fitting = ["x" * 508] * 3 + ["y" * 508, "z" * 508, "w" * 508, "v" * 508]
    assert len(export(dict.fromkeys(fitting[:6]))) == MAX_FIELD_BYTES - 2
    longest = ["a" * 509, "b" * 509, "c" * 508, "d" * 508]
    assert len(export(longest)) == MAX_FIELD_BYTES
    assert export([*longest[:3], "d" * 509]) is None


@given(st.lists(tags, max_size=6))
def test_the_field_is_one_that_the_library_would_write(given_tags):
    field = export(given_tags)
    if field is None:
        assert not given_tags
    else:
        assert ser(parse(field, tltype="list")).encode() == field


@given(st.lists(tags, max_size=6))
def test_every_exported_tag_is_read_back_and_purged_by_its_group(given_tags):
    field = export(given_tags)
    headers = [] if field is None else lines(field)
    assert set(groups(headers)) >= set(given_tags)
    assert set(purge(*[value for _, value in headers])) >= set(given_tags)
    assert set(groups(lines(export(groups(headers)) or b""))) >= set(groups(headers))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ([], ()),
        ([b""], ()),
        ([b' "a" '], ("a",)),
        ([b'"a", "b" ,\t"a"'], ("a", "b")),
        ([b'"a"', b"", b'"b"'], ("a", "b")),
        ([b'"scripts";revalidate, "b";x=1;y="z"'], ("scripts", "b")),
        ([rb'"say \"hi\"", "\\"'], ('say "hi"', "\\")),
        ([b'"A", "a"'], ("A", "a")),
        ([b'" a "'], (" a ",)),
        ([b'"a, b"'], ("a, b",)),
        ([b'"%C3%BC"'], ("%C3%BC", "ü")),
        ([b'"%c3%bc%25"'], ("%c3%bc%25", "ü%")),
        ([b'"a%41%20"'], ("a%41%20",)),
        ([b'"%FF"'], ("%FF",)),
        ([b'"%C2%85"'], ("%C2%85",)),
        ([b'"%"'], ("%",)),
    ],
)
def test_groups_are_read_as_tags(fields, expected):
    assert groups(lines(*fields)) == expected
    assert purge(*fields) == expected


def test_each_field_is_read_for_itself():
    headers = [*lines(b'"a"'), *lines(b'"b"', name=b"Cache-Group-Invalidation")]
    assert groups(headers) == ("a",)
    assert invalidated(headers) == ("b",)


@pytest.mark.parametrize(
    "field",
    [
        *(b"a", b'"a', b'"a",', b', "a"', b'"a" "b"', b'"a";', b'("a")', b"=", b"\x00"),
        *(b"1", b"?1", b":YQ==:", b'%"a"', b"@1", '"é"'.encode(), b'"\\a"'),
    ],
)
def test_what_is_no_list_of_strings_is_refused_whole(field):
    with pytest.raises(TagError, match="cache-groups"):
        groups(lines(field))
    with pytest.raises(TagError, match="cache-group-invalidation"):
        purge(b'"good"', field)


def test_a_group_that_can_be_no_tag_is_refused_in_an_answer_and_left_out_of_a_purge():
    long = b'"' + b"x" * (MAX_TAG_BYTES + 1) + b'"'
    for illegal in (b'""', long):
        with pytest.raises(TagError):
            groups(lines(b'"a"', illegal))
        assert purge(b'"a"', illegal, b'"b"') == ("a", "b")


def test_a_long_tag_is_known_by_its_encoding_alone():
    tag = "ü" * (MAX_TAG_BYTES // 2)
    assert groups(lines(export([tag]))) == (tag,)


@given(
    st.binary()
    | st.lists(st.sampled_from([b'"', b"a", b",", b" ", b"\\", b"%", b"C3", b";", b"(", b")", b"="]), max_size=9).map(
        b"".join
    )
)
def test_any_bytes_are_read_or_refused(field):
    try:
        assert all(map(is_tag, groups(lines(field))))
    except TagError:
        pass
    else:
        assert groups(lines(field)) == purge(field)


def test_the_parser_is_imported_where_it_is_first_wanted():
    program = (
        "import sys, rcache.core.groups as groups; assert 'http_sf' not in sys.modules; "
        "groups.export(['a']); assert groups.groups([]) == (); assert 'http_sf' not in sys.modules; "
        "groups.parser(); assert 'http_sf' in sys.modules"
    )
    path = "import sys; sys.path[:] = " + repr(sys.path) + "; "
    subprocess.run([sys.executable, "-c", path + program], check=True)


def test_without_the_parser_the_remedy_is_named():
    program = (
        "import sys; sys.modules['http_sf'] = None; import rcache.core.groups as groups\n"
        "try: groups.parser()\n"
        "except groups.ConfigurationError as error: print(error)"
    )
    path = "import sys; sys.path[:] = " + repr(sys.path) + "; "
    run = subprocess.run([sys.executable, "-c", path + program], check=True, capture_output=True, text=True)
    assert "rcache[targeted]" in run.stdout
    assert parser() is parse
