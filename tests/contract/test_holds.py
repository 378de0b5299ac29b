"""While somebody is about to commit, what carries the tags is neither used nor stored; what then happened decides."""

from rcache.testing.contract.holds import *  # noqa: F403
