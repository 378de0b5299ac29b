"""One application on two nodes, with one Redis for the cache of both."""
