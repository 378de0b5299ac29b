from urllib.parse import urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rcache.core.invalidation import MAX_REFERENCE, invalidates, is_unsafe, targets

BASE = b"/b/c/d;p?q"


def resolve(reference, *, scheme="http", host=b"a", base=BASE, name=b"location"):
    return targets(scheme, host, base, [(name, reference)])


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "TRACE", "QUERY"])
def test_safe_methods_change_nothing(method):
    assert not is_unsafe(method)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "CONNECT", "M-SEARCH", "get", "Query", "", "X"])
def test_all_other_methods_are_unsafe_known_or_not(method):
    assert is_unsafe(method)


def test_only_answers_without_an_error_invalidate():
    assert [status for status in range(1000) if invalidates(status)] == list(range(200, 400))


@pytest.mark.parametrize(
    ("reference", "target"),
    [
        # RFC 3986 §5.4.1, as far as it stays on the origin
        (b"g", b"/b/c/g"),
        (b"./g", b"/b/c/g"),
        (b"g/", b"/b/c/g/"),
        (b"/g", b"/g"),
        (b"?y", b"/b/c/d;p?y"),
        (b"g?y", b"/b/c/g?y"),
        (b"g#s", b"/b/c/g"),
        (b"g?y#s", b"/b/c/g?y"),
        (b";x", b"/b/c/;x"),
        (b"g;x", b"/b/c/g;x"),
        (b"g;x?y#s", b"/b/c/g;x?y"),
        (b".", b"/b/c/"),
        (b"./", b"/b/c/"),
        (b"..", b"/b/"),
        (b"../", b"/b/"),
        (b"../g", b"/b/g"),
        (b"../..", b"/"),
        (b"../../", b"/"),
        (b"../../g", b"/g"),
        # §5.4.2
        (b"../../../g", b"/g"),
        (b"../../../../g", b"/g"),
        (b"/./g", b"/g"),
        (b"/../g", b"/g"),
        (b"g.", b"/b/c/g."),
        (b".g", b"/b/c/.g"),
        (b"g..", b"/b/c/g.."),
        (b"..g", b"/b/c/..g"),
        (b"./../g", b"/b/g"),
        (b"./g/.", b"/b/c/g/"),
        (b"g/./h", b"/b/c/g/h"),
        (b"g/../h", b"/b/c/h"),
        (b"g;x=1/./y", b"/b/c/g;x=1/y"),
        (b"g;x=1/../y", b"/b/c/y"),
        (b"g?y/./x", b"/b/c/g?y/./x"),
        (b"g?y/../x", b"/b/c/g?y/../x"),
        (b"g#s/./x", b"/b/c/g"),
        (b"g#s/../x", b"/b/c/g"),
        # Absolute, on the same origin
        (b"http://a/x?y", b"/x?y"),
        (b"HTTP://A/x", b"/x"),
        (b"http://a:80/x", b"/x"),
        (b"http://a:080/x", b"/x"),
        (b"http://a:/x", b"/x"),
        (b"http://a", b"/"),
        (b"http://a?y", b"/?y"),
        (b"http://a#s", b"/"),
        (b"http://a/x/../y", b"/y"),
        (b"http://a/x?http://b/", b"/x?http://b/"),
        (b"//a/x", b"/x"),
        (b"//A:80/x", b"/x"),
        # Spellings
        (b"  /x\t", b"/x"),
        (b"?", b"/b/c/d;p"),
        (b"/x?", b"/x"),
        (b"/x??", b"/x??"),
        (b"/x#", b"/x"),
        (b"/x#a b", b"/x"),
        (b"//a//x//y", b"//x//y"),
        (b"/x//../y", b"/x/y"),
        (b"/%2e%2E/x", b"/%2e%2E/x"),
        (b"/caf%c3%a9", b"/caf%c3%a9"),
        ("/café?é".encode(), b"/caf%C3%A9?%C3%A9"),
        (b"/\xe9", b"/%E9"),
        (b"/a:b", b"/a:b"),
        (b"./a:b", b"/b/c/a:b"),
        (b"1:2", b"/b/c/1:2"),
        (b"/x;y=1", b"/x;y=1"),
        (b"/x[1]", b"/x[1]"),
        (b"/x\\y", b"/x\\y"),
    ],
)
def test_references_on_the_same_origin_are_resolved(reference, target):
    assert resolve(reference) == [target]
    assert resolve(reference, name=b"Content-Location") == [target]


@pytest.mark.parametrize(
    "reference",
    [
        # Other origins
        *(
            b"http://b/x",
            b"//b/x",
            b"https://a/x",
            b"http://a:8080/x",
            b"http://a:0/x",
            b"http://a.:80/x",
            b"//a:443/x",
        ),
        *(
            b"http://aa/x",
            b"http://b@a/x",
            b"http://a:80@b/x",
            b"http://a@/x",
            b"http://a%2e/x",
            b"http://[::1]/x",
            b"ftp://a/x",
        ),
        # No http URI at all
        *(
            b"http:g",
            b"http:/g",
            b"http:",
            b"http:?y",
            b"g:h",
            b"mailto:a@a",
            b"javascript:x",
            b"a:80/x",
            b"urn:a",
            b"data:,x",
        ),
        # Garbage
        *(b"///x", b"//", b"http://", b"http:///x", b"http://:80/x", b"http://a:b/x", b"http://a:80:80/x"),
        *(
            b"http://[::1/x",
            b"http://[a]/x",
            b"http://a]/x",
            b"http://a b/x",
            b"/x y",
            b"/x\x00",
            b"/\r\nx",
            b"/x\x7f",
            b"/x#\n",
        ),
        b"/" + b"x" * MAX_REFERENCE,
        # Its own target
        *(b"", b" ", b"#", b"#s", b"d;p?q", b"?q", b"/b/c/d;p?q", b"http://a/b/c/d;p?q#s", b"../c/d;p?q"),
    ],
)
def test_other_origins_garbage_and_the_target_itself_are_ignored(reference):
    assert resolve(reference) == []


@pytest.mark.parametrize(
    ("scheme", "host", "reference", "is_same"),
    [
        ("https", b"a", b"https://a:443/x", True),
        ("https", b"a:443", b"https://a/x", True),
        ("https", b"a:443", b"//a/x", True),
        ("https", b"a", b"https://a:80/x", False),
        ("https", b"a", b"http://a:443/x", False),
        ("HTTPS", b"A", b"hTTps://a/x", True),
        ("http", b"a:8080", b"http://a:8080/x", True),
        ("http", b"a:8080", b"http://a/x", False),
        ("http", b"a:8080", b"/x", True),
        ("http", b"[::1]", b"http://[::1]:80/x", True),
        ("http", b"[::1]:8000", b"http://[::1]:8000/x", True),
        ("http", b"[::A]", b"http://[::a]/x", True),
        ("http", b"[::1]", b"http://[::2]/x", False),
        ("http", b"", b"http:///x", False),
        ("http", b"", b"///x", False),
        ("http", b"a b", b"http://a b/x", False),
        ("http", b"u@a", b"http://u@a/x", False),
        ("http", b"", b"/x", True),
        ("http", b"", b"//a/x", False),
        ("", b"", b"//a/x", False),
    ],
)
def test_an_origin_is_scheme_host_and_port(scheme, host, reference, is_same):
    assert resolve(reference, scheme=scheme, host=host) == ([b"/x"] if is_same else [])


@pytest.mark.parametrize(
    ("base", "reference", "target"),
    [
        (b"/", b"x", b"/x"),
        (b"", b"x", b"/x"),
        (b"", b"/", None),
        (b"?q", b"?r", b"/?r"),
        (b"*", b"x", b"/x"),
        (b"/a/", b"x", b"/a/x"),
        (b"/a", b"", None),
        (b"/a?", b"/a", None),
        (b"/a", b"/a?", None),
        (b"/a?b/c", b"d", b"/d"),
        (b"/a?b?c", b"?b?c", None),
        (b"/a/../b", b"?x", b"/a/../b?x"),
        (b"/\xc3\xa9", b"/%C3%A9", None),
    ],
)
def test_references_are_relative_to_the_request(base, reference, target):
    assert resolve(reference, base=base) == ([] if target is None else [target])


def test_all_lines_count_and_each_target_once():
    headers = [
        (b"content-location", b"/c"),
        (b"Location", b"/a"),
        (b"LOCATION", b"b"),
        (b"location", b"http://other/"),
        (b"content-location", b"/a#x"),
        (b"link", b"/not"),
    ]
    assert targets("http", b"h", b"/", headers) == [b"/a", b"/b", b"/c"]
    assert targets("http", b"h", b"/", []) == []


def test_a_reference_of_the_greatest_length_is_resolved():
    longest = b"/" + b"x" * (MAX_REFERENCE - 1)
    assert resolve(longest) == [longest]


@pytest.mark.parametrize(
    "reference",
    ["http://[::1/x", "http://[a]/x", "//[", "http://a]/x", "http://\u2100/x", "http://a:99999/x", "http://a:b/x"],
)
def test_what_the_standard_library_refuses_or_mends_is_ignored(reference):
    """It raises ValueError for some of these when they are joined, for others when the port is read."""
    assert resolve(reference.encode()) == []


@pytest.mark.parametrize(
    ("reference", "joined"),
    [
        (b"http:g", "http://a/b/c/g"),  # as RFC 2396 allowed
        (b"http://a/x/../y", "http://a/x/../y"),  # dots stay where there is an authority
        (b"/x\n/y", "http://a/x/y"),  # controls vanish
        (b"?", "http://a/b/c/d;p?q"),  # an empty query counts as none
    ],
)
def test_the_traps_of_the_standard_library_are_still_there(reference, joined):
    """Why references are not resolved by urljoin."""
    assert urljoin("http://a/b/c/d;p?q", reference.decode()) == joined
    assert resolve(reference) != [joined.removeprefix("http://a").encode()]


segments = st.sampled_from(["", "a", "b", ".", "..", "...", "a;b", "%2e", "a:b"])
paths = st.lists(segments, max_size=6).map("/".join)
references = st.tuples(paths, st.sampled_from(["", "?x", "?x/../y", "?x?y"]), st.sampled_from(["", "#s"])).map("".join)


def without_dots(path):
    """RFC 3986 §5.2.4 to the letter."""
    output = ""
    while path:
        if path.startswith("../"):
            path = path[3:]
        elif path.startswith(("./", "/./")):
            path = path[2:]
        elif path == "/.":
            path = "/"
        elif path.startswith("/../") or path == "/..":
            path = "/" + path[4:]
            output = output.rpartition("/")[0]
        elif path in (".", ".."):
            path = ""
        else:
            end = path.find("/", 1)
            end = len(path) if end < 0 else end
            output, path = output + path[:end], path[end:]
    return output


@given(paths.map("/".__add__), references.filter(lambda reference: ":" not in reference.split("/")[0]))
def test_any_relative_reference_is_resolved_as_the_rfc_spells_it(base, reference):
    """Beside the RFC's own pseudo-code."""
    if reference.startswith("//"):
        reference = "/" + reference.lstrip("/")
    path, _, query = reference.partition("#")[0].partition("?")
    if path.startswith("/"):
        resolved = without_dots(path)
    elif path:
        resolved = without_dots(base[: base.rindex("/") + 1] + path)
    else:
        resolved = base
    expected = (resolved + ("?" + query if query else "")).encode()
    assert resolve(reference.encode(), base=base.encode()) == ([] if expected == base.encode() else [expected])


pieces = st.lists(
    st.sampled_from(
        [
            b"http",
            b":",
            b"/",
            b"//",
            b"a",
            b"[",
            b"]",
            b"::1",
            b"@",
            b"80",
            b"?",
            b"#",
            b"..",
            b" ",
            b"%",
            b"\xe9",
            b"\x00",
        ]
    ),
    max_size=12,
).map(b"".join)


@given(
    st.binary() | pieces,
    st.sampled_from(["http", "https", "", "x"]),
    st.binary(max_size=4) | st.just(b"a"),
    st.binary() | pieces,
)
def test_any_bytes_give_targets_or_nothing(reference, scheme, host, base):
    for target in resolve(reference, scheme=scheme, host=host, base=base):
        assert target.isascii()
        assert b"#" not in target or b"#" in base


@given(
    st.lists(
        st.sampled_from(["http:", "https:", "", "//", "a", "b", ":80", ":443", ":", "/x", "@", "?y"]), max_size=6
    ).map("".join)
)
def test_no_target_of_another_origin_is_named(reference):
    """Beside the standard library, where that can read the reference at all."""
    try:
        parts = urlsplit(urljoin("http://a/b", reference))
        port = parts.port
    except ValueError:
        assert resolve(reference.encode()) == []
        return
    if (parts.scheme, parts.hostname, port or 80) != ("http", "a", 80):
        assert resolve(reference.encode()) == []


def test_long_garbage_is_read_in_one_pass():
    for unit in (b"a", b":", b"/", b"//", b"../", b"a:", b"?", b"#", b"[", b"@"):
        assert resolve((unit * MAX_REFERENCE)[: MAX_REFERENCE - 1] + b"\x00") == []
