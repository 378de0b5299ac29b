"""A page that looks into a cache and purges from it, to be mounted in the application: `rcache[dashboard]`."""

from rcache.dashboard.app import dashboard

__all__ = ["dashboard"]
