"""Ways to ask a table for rows are registered with the first entry that needs them, and no writer misses one."""

from rcache.testing.contract.schemes import *  # noqa: F403
