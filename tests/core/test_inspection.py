"""What tools are shown: keys, names and variants read back, and no secret among them."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rcache.core.history import NOTHING, together
from rcache.core.inspection import Wanted, entry_name, read_name, variant_shown
from rcache.core.keys import Key, RedisNames, canonical_query, digest, prefixed, unprefixed
from rcache.core.reports import concerns, popular, read_popular
from rcache.core.vary import variant_material
from rcache.core.views import Counters, Event, RouteRow

parts = st.binary(max_size=40)
keys = st.builds(Key, st.sampled_from(["http", "https", ""]), parts, parts, parts, st.none() | parts)


@given(keys)
def test_a_key_is_read_back_from_its_material(key: Key) -> None:
    assert Key.read(key.material) == key


@given(st.binary(max_size=60) | st.sampled_from([b"1:2:3:", b"i", b"i9:", b"0:0:9:x", b"9999999999:0:0:"]))
def test_what_is_no_material_is_refused(material: bytes) -> None:
    try:
        key = Key.read(material)
    except ValueError:
        return
    assert Key.read(key.material) == key


@given(st.lists(st.none() | parts, max_size=8))
def test_parts_are_read_back_from_what_joined_them(joined: list[bytes | None]) -> None:
    assert unprefixed(prefixed(joined)) == joined


@given(st.binary(max_size=60))
def test_what_joins_no_parts_is_refused(text: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert prefixed(unprefixed(text)) == text or b"0" in text, "a length may have zeros before it"


@given(keys, parts)
def test_an_entrys_name_leads_to_its_key_in_redis_and_back(key: Key, variant: bytes) -> None:
    names = RedisNames("a:b")
    found = read_name(entry_name(key.material, variant))
    assert found == (digest(key.material), digest(variant) if variant else "0")
    assert found is not None
    spelled = names.entry(*found).encode()
    assert names.read_entry(spelled) == found
    assert names.read_registry(spelled) is None
    assert RedisNames("a").read_entry(spelled) is None, "that is another namespace's"


@given(st.text(min_size=1), st.integers(0, 99))
def test_a_registrys_key_tells_its_tag_and_is_no_entrys(tag: str, shard: int) -> None:
    names = RedisNames("rcache")
    spelled = names.registry(shard, tag).encode("utf-8", "replace")
    assert names.read_registry(spelled) == tag.encode("utf-8", "replace").decode()
    assert names.read_entry(spelled) is None


def test_keys_of_other_things_are_no_entries() -> None:
    names, url = RedisNames("rcache"), digest(b"x")
    others = (
        names.vary(url),
        names.variants(url),
        names.lease(url, "0"),
        names.guard(0),
        names.marks(0),
        names.sequence,
    )
    assert [names.read_entry(key.encode()) for key in (*others, names.swept("a" * 16, 0), names.sweep_in(0))] == [
        None
    ] * 8
    assert [names.read_registry(key.encode()) for key in others] == [None] * 6


@pytest.mark.parametrize(
    "name", ["", "x", "a" * 22, "a" * 22 + ".1", "a" * 22 + "." + "b" * 21, "ä" * 22 + ".0", "a" * 22 + ".0\n"]
)
def test_what_is_no_name_leads_nowhere(name: str) -> None:
    assert read_name(name) is None


@given(
    st.dictionaries(
        st.sampled_from(["accept-language", "authorization", "cookie:session", "x-a"]), st.text("ab c", min_size=1)
    )
)
def test_a_variant_is_shown_without_secrets(fields: dict[str, str]) -> None:
    cookies = {name[7:]: value.encode() for name, value in fields.items() if name.startswith("cookie:")}
    headers = [(name.encode(), value.encode()) for name, value in fields.items() if not name.startswith("cookie:")]
    names = tuple(sorted(fields))
    shown = dict(variant_shown(variant_material(names, headers, cookies.get)))
    assert set(shown) == set(names)
    for name, value in fields.items():
        if name in ("authorization", "cookie:session"):
            assert shown[name] == "" or shown[name].startswith("#")
        else:
            assert shown[name].replace(" ", "") == value.replace(" ", "")


@given(
    st.sampled_from(["http", "https"]),
    st.text("abc.:1", min_size=1),
    st.text("/abc%20", max_size=20),
    st.text("ab=&1", max_size=20),
)
def test_a_url_and_its_path_find_the_key_that_was_made_of_it(scheme: str, host: str, path: str, query: str) -> None:
    path = "/" + path.lstrip("/")
    key = Key(scheme, host.encode(), path.encode(), canonical_query(query.encode()))
    target = path + ("?" + query if query else "")
    assert Wanted(target).matches(key)
    wanted = Wanted(f"{scheme}://{host}{target}")
    assert wanted.matches(key)
    assert key in wanted.keys
    assert wanted.matches(key._replace(host=b"")), "where the host is no part of the key"
    assert not wanted.matches(key._replace(host=b"another"))
    assert not Wanted(target).matches(key._replace(path=key.path + b"x"))


def test_a_url_is_shown_as_people_write_it() -> None:
    assert Key("https", b"a.example", b"/b%20c", b"d=1").shown == "https://a.example/b%20c?d=1"
    assert Key("https", b"", b"/b", b"").shown == "/b"
    assert Key("http", b"a", b"/b\x00/rewritten", b"").shown == "http://a/b"
    assert Key("http", b"\xff", b"/\xff", b"").shown == "http://\\xff/\\xff"


@given(st.text("abc", min_size=1), st.text("http:/ab c?", max_size=30))
def test_popular_entries_are_read_back_without_whose_they_are(entry: str, url: str) -> None:
    assert read_popular(popular(entry, url, is_private=False)) == (entry, url)
    assert read_popular(popular(entry, url, is_private=True)) == (entry, "")
    assert read_popular(popular(entry, "x" * 2000, is_private=False)) == (entry, "")


def test_a_purge_concerns_what_carries_its_tags_and_a_flush_everything() -> None:
    def event(kind: str, *tags: str) -> Event:
        return Event(1, 0.0, kind, tags, len(tags), 0, "node", "commit")  # type: ignore[arg-type]

    assert concerns(event("purge", "a", "b"), ["b"])
    assert concerns(event("soft-purge", "a"), ["a"])
    assert concerns(event("flush"), ["a"])
    assert not concerns(event("hold", "a"), ["a"])
    assert not concerns(event("purge", "a"), ["b"])


def test_what_two_moments_counted_adds_up_route_by_route() -> None:
    one = Counters(hits=1), (RouteRow("/a", Counters(hits=1)),)
    two = Counters(hits=5), (RouteRow("/a", Counters(hits=2)), RouteRow("/b", Counters(hits=3)))
    counters, routes = together(one, two)
    assert counters.hits == 6
    assert {row.route: row.counters.hits for row in routes} == {"/a": 3, "/b": 3}
    assert together(NOTHING, one) == one
