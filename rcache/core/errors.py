"""The error family. Drivers' errors are translated at the border, once, `from` the original."""


class RCacheError(Exception):
    """Base of everything this library raises on purpose."""


class ConfigurationError(RCacheError, ValueError):
    """A setting that cannot work. Raised while starting or where it is written: correct the setting it names."""


class BackendError(RCacheError):
    """The store failed. A lookup treats it as a bypass; a purge lets its caller know, and is sent again until it lands."""


class UnknownOutcome(RCacheError):  # noqa: N818 (it tells what happened to a write, and is no fault of anybody's)
    """Raised by users inside `Cache.writing`: nobody knows whether the write happened. It is purged, and stays held."""


class StrictError(RCacheError):
    """Strict mode: a cached endpoint read what neither its key nor its tags tell. Its text names what, where, and the remedy."""
