"""After a soft purge an entry is found stale, by every node, and a purge that is not soft wins whenever it comes."""

from rcache.testing.contract.soft_purges import *  # noqa: F403
