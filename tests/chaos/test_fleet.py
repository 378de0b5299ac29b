"""The simulated fleet says to Redis what real nodes say."""

from __future__ import annotations

import pytest

from benchmarks import fleet


def test_every_simulated_node_reads_every_record_and_strict_purges_wait_for_them(monkeypatch: pytest.MonkeyPatch):
    """`measure` raises where a record was not read by all."""
    monkeypatch.setattr(fleet, "LEASE", 1.2)
    monkeypatch.setattr(fleet, "IDLE", 0.5)
    result = fleet.measure((1, 7), purges=10)
    for mode in ("fast", "strict"):
        assert [point["connections"] for point in result[mode]] == [1, 7]
    # A strict purge returns after the last node has read of it, never before.
    for point in result["strict"]:
        assert point["returned_ms"][0] >= point["last_ms"][0]


def test_the_page_tells_the_formula():
    points = [
        {
            "nodes": nodes,
            "connections": nodes,
            "returned_ms": [1.0, 2.0],
            "middle_ms": [1.0, 2.0],
            "last_ms": [1.0, 2.0],
            "redis_idle": 0.0001 * nodes,
            "redis_per_purge_us": 100.0 + 10.0 * nodes,
        }
        for nodes in (1, 10, 100)
    ]
    fit = fleet._fit(points)
    assert (fit["base_us"], fit["each_us"], fit["lease_us"]) == (100.0, 10.0, 100.0)
    assert fleet.most_purges(fit, 40) == pytest.approx((500_000 - 100 * 40) / (100 + 10 * 40))
    settings = {"load": 0.5, "cores": 2}
    page = fleet.render({"settings": settings, "fast": points, "strict": points, "fit": {"fast": fit, "strict": fit}})
    assert "| fast | 100 | 10.0 | 100 |" in page
