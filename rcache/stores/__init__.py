"""Where entries live: in this process, or in Redis."""
