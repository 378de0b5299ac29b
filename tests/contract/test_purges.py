"""After a purge has landed nobody is given an entry begun before, however the steps lay; and nothing else is lost."""

from rcache.testing.contract.purges import *  # noqa: F403
