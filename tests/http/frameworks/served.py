"""The application of the framework that FRAMEWORK names, behind a cache of its own, for servers that are started by a command."""

from __future__ import annotations

import os

from rcache import Cache
from tests.http.frameworks import FRAMEWORKS

app = FRAMEWORKS[os.environ["FRAMEWORK"]].behind(Cache("memory://"))
