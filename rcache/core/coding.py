"""Content codings (RFC 9110 §8.4.1): a body as coded bytes, and back.

gzip is there always; zstd (RFC 8878) and br (RFC 7932) where a package that knows them is installed. A body is coded once,
when it is stored, and everybody who takes the coding is sent those bytes.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import cache
from importlib import import_module
from sys import maxsize
from typing import Any, Final, NamedTuple

from rcache.core.codec import CodecError

KNOWN: Final = ("zstd", "br", "gzip")
"""The codings that bodies may be kept in, the best first: it codes smallest in the same time."""

ZSTD_WINDOW: Final = 23
"""Binary logarithm of the largest window that the coding zstd may ask of a client, 8 MiB (RFC 9659)."""

# About 10 ms per megabyte of JSON each. The next levels take twice as long for a few per cent, the highest of br and
# zstd a hundred times as long.
_GZIP_LEVEL: Final = 6
_BR_QUALITY: Final = 5
_ZSTD_LEVEL: Final = 6

_GZIP_FORMAT: Final = 31  # zlib's number for the largest window with a gzip header; its time is left 0


class _Coding(NamedTuple):
    encode: Callable[[bytes], bytes]
    decode: Callable[[bytes, int], bytes | None]
    """The body of that many bytes; None, or bytes of another length (not many more), where there is none."""
    error: type[Exception]


def available() -> tuple[str, ...]:
    """Those of KNOWN that are usable in this process, in its order."""
    return tuple(_codings())


def is_available(coding: str | None) -> bool:
    """Whether bodies that are kept in it can be read in this process; another, with which a store is shared, may know more."""
    return coding is None or coding in _codings()


def encode(coding: str, body: bytes) -> bytes:
    """`body` in one of `available()` (KeyError for any other): the same bytes each time, with the same libraries."""
    return _codings()[coding].encode(body)


def decode(coding: str, body: bytes, size: int) -> bytes:
    """The `size` bytes of which `encode` made `body`. Raises CodecError where it is not made of that many.

    Never takes up much more memory than `size`, whatever `body` claims to hold. Damage that leaves the length alone is
    found by the checksums that gzip and zstd carry; br has none. A coding that is not available here is a CodecError as
    well, since another process may have stored it.
    """
    known = _codings().get(coding)
    if known is None:
        raise CodecError("a coding that is not available")
    if not 0 <= size < maxsize:  # decoders take a negative number for no limit, and a larger one for an error
        raise CodecError("a length that no body has")
    try:
        decoded = known.decode(body, size)
    except (known.error, MemoryError) as error:  # some reserve at once what `size` says
        raise CodecError("damaged") from error
    if decoded is None or len(decoded) != size:
        raise CodecError("another length")
    return decoded


def opened(coding: str, body: bytes, most: int) -> bytes | None:
    """What a body holds that somebody else has coded; None where that is not known here, or longer than `most` bytes."""
    known = _codings().get(coding)
    if known is None:
        return None
    try:
        decoded = known.decode(body, most)
    except (known.error, MemoryError):
        return None
    return decoded if decoded is not None and len(decoded) <= most else None


@cache
def _codings() -> dict[str, _Coding]:
    found = {
        "zstd": _zstd("compression.zstd") or _zstd("backports.zstd"),
        "br": _brotli("brotli") or _brotli("brotlicffi"),
        "gzip": _GZIP,
    }
    return {name: coding for name, coding in found.items() if coding is not None}


def _gzip(body: bytes) -> bytes:
    return zlib.compress(body, _GZIP_LEVEL, _GZIP_FORMAT)


def _gunzip(body: bytes, size: int) -> bytes | None:
    stream = zlib.decompressobj(_GZIP_FORMAT)
    # One byte more than is wanted makes the end, with its checksum, be read; and 0 would mean without limit.
    decoded = stream.decompress(body, size + 1)
    return decoded if stream.eof and not stream.unused_data else None


_GZIP: Final = _Coding(_gzip, _gunzip, zlib.error)


def _zstd(name: str) -> _Coding | None:
    """By Python's own module (3.14 and newer) or its backport."""
    module = _installed(name)
    if module is None:
        return None
    settings = {
        module.CompressionParameter.compression_level: _ZSTD_LEVEL,
        module.CompressionParameter.checksum_flag: 1,
    }
    bounds = {module.DecompressionParameter.window_log_max: ZSTD_WINDOW}

    def encode(body: bytes) -> bytes:
        coded: bytes = module.compress(body, options=settings)
        return coded

    def decode(body: bytes, size: int) -> bytes | None:
        stream = module.ZstdDecompressor(options=bounds)
        decoded: bytes = stream.decompress(body, size + 1)
        return decoded if stream.eof and not stream.unused_data else None

    return _Coding(encode, decode, module.ZstdError)


def _brotli(name: str) -> _Coding | None:
    """By the package brotli or its twin brotlicffi, from 1.2 on: older ones decode without limit."""
    module = _installed(name)
    if module is None or not hasattr(module.Decompressor, "can_accept_more_data"):
        return None

    def encode(body: bytes) -> bytes:
        coded: bytes = module.compress(body, quality=_BR_QUALITY)
        return coded

    def decode(body: bytes, size: int) -> bytes | None:
        stream = module.Decompressor()
        decoded: bytes = stream.process(body, output_buffer_limit=size + 1)
        return decoded if stream.is_finished() else None

    return _Coding(encode, decode, module.error)


def _installed(name: str) -> Any | None:
    """The module; None where it is not there. Imported by name, so that their types need not be known here."""
    try:
        return import_module(name)
    except ImportError:
        return None
