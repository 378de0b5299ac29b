"""`python -m rcache.cli` is `rcache`."""

from rcache.cli.main import main

raise SystemExit(main())
