"""What the contract suite asks of stores, for the other tests that ask so."""

from rcache.testing.contract.questions import *  # noqa: F403
