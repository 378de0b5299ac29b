import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rcache.core.keys import Key, prefixed
from rcache.core.recipe import Recipe, recipe_for, recipe_from, recipe_of
from rcache.core.vary import variant_material

octets = st.binary(max_size=12) | st.sampled_from([b"gzip, br;q=0.5", b"en-GB;q=1.0, de", b" a ,b", b"*"])
names = st.sampled_from(["accept", "accept-encoding", "accept-language", "x-device", "origin"])
fields = st.lists(st.tuples(names.map(str.encode), octets), max_size=4)
KEY = Key("https", b"shop.example", b"/a%20b", b"x=1&y=%C3%A9")


@given(st.lists(names, unique=True, max_size=4).map(sorted).map(tuple), fields)
def test_a_request_made_by_the_recipe_selects_the_same_variant(selecting, headers):
    material = variant_material(selecting, headers, lambda name: None)
    recipe = recipe_of(KEY, material)
    assert recipe is not None
    assert variant_material(selecting, recipe.headers, lambda name: None) == material


@given(st.lists(names, unique=True, max_size=4).map(sorted).map(tuple), fields)
def test_a_recipe_survives_a_job(selecting, headers):
    recipe = recipe_of(KEY, variant_material(selecting, headers, lambda name: None))
    assert recipe is not None
    if all(b"\x00" not in value and b"\n" not in value and b"\r" not in value for _, value in recipe.headers):
        again = recipe_from(orjson.loads(orjson.dumps(recipe.plain)))
        assert (again, again.id) == (recipe, recipe.id)


def test_what_belongs_to_somebody_has_no_recipe():
    assert recipe_of(KEY._replace(identity=b"ann"), b"") is None
    assert recipe_of(KEY, prefixed([b"cookie:theme", b"dark"])) is None
    assert recipe_of(KEY, prefixed([b"authorization", b"Bearer x"])) is None
    assert recipe_of(KEY, prefixed([b"cookie:theme", None])) is not None, (
        "who has no such cookie is nobody in particular"
    )


def test_what_is_no_key_has_no_recipe():
    assert recipe_of(KEY, b"damaged") is None
    assert recipe_of(KEY._replace(path=b"/outer\x00/inner"), b"") is None


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://Shop.example:8443/a?b=1", Recipe("https", b"shop.example:8443", b"/a", b"b=1")),
        ("http://shop.example", Recipe("http", b"shop.example", b"/")),
        ("/a b/é?q=é#part", Recipe("http", b"localhost", b"/a%20b/%C3%A9", b"q=%C3%A9")),
        ("/a%20b%2Fc", Recipe("http", b"localhost", b"/a%20b%2Fc")),
        ("http://bücher.example/", Recipe("http", b"xn--bcher-kva.example", b"/")),
    ],
)
def test_a_url_is_spelled_as_it_goes_over_the_wire(url, expected):
    assert recipe_for(url, base="http://localhost/") == expected


@pytest.mark.parametrize(
    "url",
    [
        "",
        "a",
        "//evil.example/",
        "ftp://a/",
        "http://",
        "http://user:secret@a/",
        "http://[::1/",
        "/a%00",
        "/" + "a" * 9000,
        None,
    ],
)
def test_what_is_no_url_is_refused(url):
    with pytest.raises(ValueError):
        recipe_for(url, base="http://localhost")


def test_a_path_needs_what_stands_before_it():
    with pytest.raises(ValueError, match="is a path"):
        recipe_for("/")
    with pytest.raises(ValueError, match="neither"):
        recipe_for("/", base="shop.example")


@pytest.mark.parametrize(
    "headers",
    [[("a b", "c")], [("a", "b\r\nc: d")], [("Cookie", "a=b")], ["ab c"], [("a",)], 3, [("a", 1)], [("é", "a")]],
)
def test_what_is_no_header_field_is_refused(headers):
    with pytest.raises(ValueError):
        recipe_for("http://localhost/", headers)


@given(st.recursive(st.none() | st.text() | st.integers(), lambda some: st.lists(some, max_size=5), max_leaves=8))
def test_a_job_that_holds_no_recipe_is_refused(plain):
    try:
        recipe = recipe_from(plain)
    except ValueError:
        return
    assert recipe.plain == plain
