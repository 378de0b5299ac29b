import gzip
import subprocess
import sys
from contextlib import contextmanager, suppress
from importlib import import_module
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rcache.core import coding
from rcache.core.codec import CodecError
from rcache.core.coding import available, decode, encode

ZSTD = ("compression.zstd", "backports.zstd")
BROTLI = ("brotli", "brotlicffi")

# Each coding by each package that knows it, as far as this interpreter has it.
WAYS = {
    "zlib": ("gzip", coding._GZIP),
    **{name: ("zstd", made) for name in ZSTD if (made := coding._zstd(name))},
    **{name: ("br", made) for name in BROTLI if (made := coding._brotli(name))},
}
every_way = pytest.mark.parametrize("way", WAYS)


@contextmanager
def using(way):
    """The name of the coding, while this is the package that it is coded and decoded by."""
    name, made = WAYS[way]
    with patch.dict(coding._codings(), {name: made}):
        yield name


def test_every_coding_is_tested_here():
    assert available() == ("zstd", "br", "gzip")
    assert {"zlib", *BROTLI} < set(WAYS)


bodies = st.binary(max_size=300) | st.tuples(st.binary(max_size=40), st.integers(0, 3000)).map(lambda t: t[0] * t[1])
LARGE = b"".join(b"%d," % number for number in range(1_300_000))


@every_way
@given(body=bodies)
def test_a_body_comes_back_as_it_was(way, body):
    with using(way) as name:
        assert decode(name, encode(name, body), len(body)) == body


@every_way
def test_a_body_larger_than_any_window_comes_back_as_it_was(way):
    assert len(LARGE) > 1 << coding.ZSTD_WINDOW
    with using(way) as name:
        coded = encode(name, LARGE)
        assert len(coded) < len(LARGE) // 2
        assert decode(name, coded, len(LARGE)) == LARGE


@every_way
@given(body=bodies, size=st.integers(-2, 2000) | st.sampled_from([1 << 50, sys.maxsize - 1, sys.maxsize, 1 << 70]))
def test_another_length_is_a_codec_error(way, body, size):
    with using(way) as name, pytest.raises(CodecError):
        decode(name, encode(name, body), size if size != len(body) else size + 1)


@every_way
@given(body=bodies, data=st.data())
def test_a_truncated_body_is_a_codec_error(way, body, data):
    with using(way) as name:
        coded = encode(name, body)
        with pytest.raises(CodecError):
            decode(name, coded[: data.draw(st.integers(0, len(coded) - 1))], len(body))


@every_way
@given(body=bodies, rest=st.none() | st.binary(min_size=1, max_size=40))
def test_bytes_behind_the_end_are_a_codec_error(way, body, rest):
    with using(way) as name:
        coded = encode(name, body)
        with pytest.raises(CodecError):
            decode(name, coded + (coded if rest is None else rest), len(body))


@every_way
@given(body=bodies, data=st.data())
def test_a_damaged_body_is_a_codec_error(way, body, data):
    """Some bits mean nothing; and br, without a checksum, cannot tell what leaves the length alone."""
    with using(way) as name:
        coded = bytearray(encode(name, body))
        coded[data.draw(st.integers(0, len(coded) - 1))] ^= data.draw(st.integers(1, 255))
        with suppress(CodecError):
            decoded = decode(name, bytes(coded), len(body))
            assert len(decoded) == len(body)
            assert decoded == body or name == "br"


@every_way
@given(garbage=st.binary(max_size=60), size=st.integers(0, 100))
def test_any_other_bytes_are_a_codec_error_or_of_the_length(way, garbage, size):
    with using(way) as name, suppress(CodecError):
        assert len(decode(name, garbage, size)) == size


@pytest.mark.parametrize("way", [way for way in WAYS if way not in BROTLI])
@pytest.mark.parametrize("place", [-5, -1])
def test_the_checksum_at_the_end_counts(way, place):
    with using(way) as name:
        coded = bytearray(encode(name, b"hello" * 100))
        coded[place] ^= 1
        with pytest.raises(CodecError):
            decode(name, bytes(coded), 500)


BOMB = """
import resource, sys
from rcache.core import coding
from rcache.core.codec import CodecError

package, name = sys.argv[1:]
if name == "zstd":
    coding._codings()[name] = coding._zstd(package)
if name == "br":
    coding._codings()[name] = coding._brotli(package)
assert coding.decode(name, coding.encode(name, b"x" * 1000), 1000) == b"x" * 1000
bomb = sys.stdin.buffer.read()
pages = int(open("/proc/self/statm").read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (64 << 20), resource.RLIM_INFINITY))
for size in (0, 1000):
    try:
        coding.decode(name, bomb, size)
    except CodecError as error:
        print(error)
"""


@every_way
def test_a_body_that_holds_more_than_it_should_is_not_decoded_whole(way):
    """In a process with a quarter of the memory that the whole would take."""
    with using(way) as name:
        bomb = encode(name, bytes(256 << 20))
    run = subprocess.run([sys.executable, "-c", BOMB, way, name], input=bomb, capture_output=True, check=True)
    assert run.stdout == b"another length\n" * 2


@pytest.mark.parametrize("name", ["zstd", "br", "gzip"])
def test_a_body_has_the_same_bytes_in_every_process(name):
    program = (
        "import sys; from rcache.core.coding import encode; print(encode(sys.argv[1], sys.stdin.buffer.read()).hex())"
    )
    body = b"the quick brown fox " * 100
    run = subprocess.run([sys.executable, "-c", program, name], input=body, capture_output=True, check=True)
    assert run.stdout.decode().strip() == encode(name, body).hex()


def test_gzip_is_read_by_others_and_tells_no_time():
    coded = encode("gzip", b"hello" * 100)
    assert gzip.decompress(coded) == b"hello" * 100
    assert coded[4:8] == bytes(4)


def test_gzip_by_others_is_read():
    assert decode("gzip", gzip.compress(b"hello", mtime=5), 5) == b"hello"


@pytest.mark.parametrize("way", [way for way in WAYS if way != "zlib"])
def test_the_packages_of_a_coding_read_each_other(way):
    with using(way) as name:
        coded = encode(name, LARGE)
    for other in WAYS:
        if WAYS[other][0] == name:
            with using(other):
                assert decode(name, coded, len(LARGE)) == LARGE


@pytest.mark.parametrize("way", [way for way in WAYS if way in ZSTD])
def test_zstd_asks_for_no_larger_window_than_its_coding_allows(way):
    """The header's third field tells it: exponent and mantissa (RFC 8878 §3.1.1.1.2)."""
    with using(way):
        header = encode("zstd", LARGE)
    assert not header[4] & 0x20, "a window of its own"
    assert 1 << (10 + (header[5] >> 3)) <= 1 << coding.ZSTD_WINDOW


@pytest.mark.parametrize("way", [way for way in WAYS if way in ZSTD])
def test_zstd_with_a_larger_window_is_a_codec_error(way):
    module = import_module(way)
    larger = module.compress(LARGE, options={module.CompressionParameter.window_log: coding.ZSTD_WINDOW + 1})
    assert module.decompress(larger) == LARGE
    with using(way), pytest.raises(CodecError, match="damaged"):
        decode("zstd", larger, len(LARGE))


@pytest.mark.parametrize(
    ("absent", "expected"),
    [
        (ZSTD, ("br", "gzip")),
        (BROTLI, ("zstd", "gzip")),
        (ZSTD + BROTLI, ("gzip",)),
        (BROTLI[:1], ("zstd", "br", "gzip")),
    ],
)
def test_a_coding_is_available_if_a_package_knows_it(monkeypatch, absent, expected):
    for name in absent:
        monkeypatch.setitem(sys.modules, name, None)
    coding._codings.cache_clear()
    try:
        assert available() == expected
    finally:
        coding._codings.cache_clear()


def test_a_brotli_that_decodes_without_limit_is_not_taken(monkeypatch):
    class Old:
        class Decompressor:
            """As it was before 1.2."""

    monkeypatch.setitem(sys.modules, "brotli", Old)
    assert coding._brotli("brotli") is None


@pytest.mark.parametrize("name", ["compress", "identity", "", "GZIP"])
def test_a_coding_that_is_not_available_is_a_codec_error(name):
    with pytest.raises(CodecError, match="available"):
        decode(name, b"", 0)
    with pytest.raises(KeyError):
        encode(name, b"")


def test_no_package_is_imported_before_it_is_needed():
    program = f"import sys, rcache, rcache.core.negotiation; print(set({ZSTD + BROTLI!r}) & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert run.stdout == b"set()\n"
