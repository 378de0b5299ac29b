"""What every store promises, as a suite of tests: those of rcache pass it, and so has anybody else's.

One line takes it over, `from rcache.testing.contract import *`, beside a fixture `harness` that makes the store (`Harness`). The
tests are coroutines: pytest-asyncio runs them in its mode `auto`, where nobody marks them.
"""

from rcache.testing.contract.entries import *  # noqa: F403
from rcache.testing.contract.harness import Harness as Harness
from rcache.testing.contract.holds import *  # noqa: F403
from rcache.testing.contract.losses import *  # noqa: F403
from rcache.testing.contract.purges import *  # noqa: F403
from rcache.testing.contract.schemes import *  # noqa: F403
from rcache.testing.contract.soft_purges import *  # noqa: F403
