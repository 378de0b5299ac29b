"""What every store keeps, and whom it gives it to."""

from rcache.testing.contract.entries import *  # noqa: F403
