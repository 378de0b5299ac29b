"""The Cookie field (RFC 6265 §4.2), read the way applications read it, and the cookies that do not matter."""

from __future__ import annotations

import re
from typing import Final

# What Python's str.strip() takes off a value decoded as Latin-1. Frameworks strip names that way, so a cookie hidden
# behind a no-break space is still the cookie of that name to the application, and must be to the key.
_BLANK: Final = b" \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f\x85\xa0"
_has_gap: Final = re.compile(rb"[\x00-\x20\x7f\x85\xa0]").search

# Written and read by scripts in the browser; no server makes a page from them. Ignoring a cookie that does matter would
# show one visitor's page to another, so names are spelled out, and prefixes belong to one vendor beyond doubt.
ANALYTICS: Final = frozenset(
    b"_ga _gid _gat __utma __utmb __utmc __utmt __utmv __utmx __utmz __gads __gpi "  # Google
    b"_fbp _fbc "  # Meta
    b"_clck _clsk _uetsid _uetvid _uetmsclkid "  # Microsoft
    b"_ttp _tt_enable_cookie "  # TikTok
    b"ajs_user_id ajs_group_id ajs_anonymous_id "  # Segment
    b"__hstc __hssc __hssrc hubspotutk "  # HubSpot
    b"_ym_uid _ym_d _ym_isad _ym_visorc "  # Yandex
    b"__qca _scid _rdt_uuid li_fat_id _pin_unauth".split()  # Quantcast, Snap, Reddit, LinkedIn, Pinterest
)
ANALYTICS_PREFIXES: Final = (
    *(b"_ga_", b"_gat_", b"_gcl_", b"_gac_", b"_dc_gtm_"),  # Google
    b"_hj",  # Hotjar
    b"_pk_",  # Matomo
    b"_ttcsid",  # TikTok
    b"optimizely",  # Optimizely
)
_MIXPANEL: Final = (b"mp_", b"_mixpanel")


def parse(lines: list[bytes]) -> list[tuple[bytes, bytes]]:
    """Names and values of all Cookie lines, in order, repeats kept; a part without `=` is a nameless one's value."""
    pairs = []
    for line in lines:
        for part in line.split(b";"):
            name, equals, value = part.partition(b"=")
            if equals:
                pairs.append((name.strip(_BLANK), value.strip(_BLANK)))
            elif name := name.strip(_BLANK):
                pairs.append((b"", name))
    return pairs


def is_analytics(name: bytes) -> bool:
    """Whether this is a well-known cookie of browser analytics, on which no response depends."""
    return (
        name in ANALYTICS
        or name.startswith(ANALYTICS_PREFIXES)
        or (name.startswith(_MIXPANEL[0]) and name.endswith(_MIXPANEL[1]))
    )


def matters(lines: list[bytes], counted: frozenset[bytes] = frozenset()) -> bool:
    """Whether there is a cookie on which a response may depend: any that is neither analytics nor `counted` in the key.

    A value with whitespace counts too, since some parsers find further cookies behind it.
    """
    return any(
        (name not in counted and not is_analytics(name)) or _has_gap(value) is not None for name, value in parse(lines)
    )


def value(lines: list[bytes], name: bytes) -> bytes | None:
    """The cookie's value; None where it is absent.

    Applications disagree on which of several values counts, so all of them do, joined by the one character that none
    of them can hold.
    """
    found = [value for key, value in parse(lines) if key == name]
    return b";".join(found) if found else None
