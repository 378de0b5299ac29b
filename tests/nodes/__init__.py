"""Several processes, one Redis: what the promises mean to people who run more than one node."""
