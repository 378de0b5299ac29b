"""Acts through ports: flights, fills, purges and their journal, counters."""
