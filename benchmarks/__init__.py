"""What rcache costs and what it gains, as ratios within one run: see README.md beside this file."""
