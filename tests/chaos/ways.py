"""Leads a process under chaos through the links that stand before its servers, also to those that it is told of."""

from __future__ import annotations

import json
import os

from rcache.stores.redis.address import Address


def lead_through_links() -> None:
    """To be called before a cache is made: who sentinels or the nodes of a Cluster name is reached by the link before it."""
    links = {int(port): link for port, link in json.loads(os.environ["CHAOS_LINKS"]).items()}
    direct = Address.at

    def led(self: Address, host: str, port: int) -> Address:
        return direct(self, host, links.get(port, port))

    Address.at = led  # type: ignore[method-assign]
