"""The soak, for seconds: what is left behind shows at once, what grows takes the hour of `make soak`."""

from __future__ import annotations

from tests.chaos.soak import Soak


def test_mixed_traffic_leaves_nothing_behind():
    soak = Soak(seconds=4, every=1, ttl=2, pause=0.01, idle=0.5)
    result = soak.run()
    grown = [complaint for complaint in soak.complaints if "grew" in complaint]
    assert [complaint for complaint in result["complaints"] if complaint not in grown] == []
    assert result["counts"]["hits"]
    assert result["counts"]["writes"]
