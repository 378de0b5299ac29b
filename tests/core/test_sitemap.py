import gzip
import tracemalloc
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rcache.core import sitemap
from rcache.core.sitemap import Sitemap, SitemapError, read_list

SPACE = 'xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"'
texts = st.text(st.characters(blacklist_categories=["Cs", "Cc"], blacklist_characters="\ufffe\uffff"), max_size=30).map(
    str.strip
)


@given(st.lists(texts, max_size=5), st.booleans())
def test_the_urls_of_a_sitemap_are_read_as_they_are_written(urls, is_packed):
    entries = "".join(f"<url><loc>\n {escape(url)} </loc><lastmod>2026-01-01</lastmod></url>" for url in urls)
    data = f'<?xml version="1.0" encoding="UTF-8"?><urlset {SPACE}>{entries}</urlset>'.encode()
    assert read_list(gzip.compress(data) if is_packed else data) == Sitemap(tuple(urls))


def test_an_index_names_other_sitemaps():
    data = f"<sitemapindex {SPACE}><sitemap><loc>http://a/1.xml</loc></sitemap></sitemapindex>".encode()
    assert read_list(data) == Sitemap(sitemaps=("http://a/1.xml",))


def test_what_else_stands_in_a_sitemap_is_passed_over():
    data = (
        f'\ufeff<urlset {SPACE} xmlns:image="http://www.google.com/schemas/sitemap-image/1.1"><url><loc>/a</loc>'
        "<image:image><image:loc>/picture</image:loc></image:image></url><loc>/stray</loc></urlset>"
    ).encode()
    assert read_list(data) == Sitemap(("/a",))


@pytest.mark.parametrize("encoding", ["utf-16", "iso-8859-1"])
def test_a_sitemap_may_be_in_another_encoding(encoding):
    data = f'<?xml version="1.0" encoding="{encoding}"?><urlset {SPACE}><url><loc>/é</loc></url></urlset>'.encode(
        encoding
    )
    assert read_list(data) == Sitemap(("/é",))


def test_a_text_holds_a_url_a_line():
    data = "\ufeff# pages\r\n/a b\n\n https://shop.example/é \n".encode()
    assert read_list(data) == Sitemap(("/a b", "https://shop.example/é"))


BOMB = (
    '<!DOCTYPE urlset [<!ENTITY a "aaaaaaaaaa">'
    + "".join(f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 10}">' for n in range(9))
    + f"]><urlset {SPACE}><url><loc>&j;</loc></url></urlset>"
)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (BOMB.encode(), "document type"),
        (BOMB.encode("utf-16"), "document type"),
        (b'<!DOCTYPE urlset SYSTEM "file:///etc/passwd"><urlset/>', "document type"),
        (
            b'<!DOCTYPE u [<!ENTITY x SYSTEM "file:///etc/passwd">]><urlset><url><loc>&x;</loc></url></urlset>',
            "document type",
        ),
        (b"<urlset><url><loc>&x;</loc></url></urlset>", "not well-formed"),
        (b"<urlset><url>", "not well-formed"),
        (b'<?xml version="1.0" encoding="klingon"?><urlset/>', "sitemap"),
        (b"<html><body>Not found</body></html>", "<html> is no sitemap"),
        (b"page one", "line 1 is neither"),
        (b"/a\nftp://a/", "line 2 is neither"),
        (b"/" + b"a" * 9000, "line 1"),
        (b"\xff\xff\xff", "neither XML nor text"),
        (gzip.compress(b"/a", mtime=0)[:-4], "cut off"),
        (b"\x1f\x8bnonsense", "damaged"),
    ],
)
def test_what_is_no_list_of_urls_is_refused(data, why):
    with pytest.raises(SitemapError, match=why):
        read_list(data)


def test_what_unpacks_to_too_much_is_refused_before_it_is_there(monkeypatch):
    monkeypatch.setattr(sitemap, "MAX_SIZE", 10_000)
    packed = gzip.compress(b"/a\n" * 1_000_000)
    tracemalloc.start()
    with pytest.raises(SitemapError, match="longer than"):
        read_list(packed)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000


def test_a_sitemap_of_too_many_urls_is_refused(monkeypatch):
    monkeypatch.setattr(sitemap, "MAX_URLS", 3)
    entry = "<url><loc>/a</loc></url>"
    assert len(read_list(f"<urlset>{entry * 3}</urlset>".encode()).urls) == 3
    with pytest.raises(SitemapError, match="more than"):
        read_list(f"<urlset>{entry * 4}</urlset>".encode())


@given(st.binary(max_size=60) | st.text("<>/&;urlsetocx !DOCTYPE[]'\"=", max_size=60).map(str.encode))
def test_anything_else_is_a_list_or_refused(data):
    try:
        found = read_list(data)
    except SitemapError:
        return
    assert isinstance(found, Sitemap)
