"""The error family. Drivers' errors are translated at the border, once, `from` the original."""


class RCacheError(Exception):
    """Base of everything this library raises on purpose."""


class ConfigurationError(RCacheError, ValueError):
    """A setting that cannot work. Raised while starting or where it is written: correct the setting it names."""


class BackendError(RCacheError):
    """The store failed. A lookup treats it as a bypass; a purge lets its caller know, and is sent again until it lands."""
