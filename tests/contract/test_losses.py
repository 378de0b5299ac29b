"""A loss costs misses, never a stale hit: guards, epochs, everything."""

from rcache.testing.contract.losses import *  # noqa: F403
