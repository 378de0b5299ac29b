"""Opens the site with something to read: `python -m examples.publishing`, on port 8000 unless another is given."""

from __future__ import annotations

import sys

import uvicorn

if __name__ == "__main__":
    uvicorn.run("examples.publishing.app:serve", factory=True, port=int(sys.argv[1]) if len(sys.argv) > 1 else 8000)
