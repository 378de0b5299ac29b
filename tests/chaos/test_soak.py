"""The soak, for seconds: what is left behind shows at once, what grows takes the hour of `make soak`."""

from __future__ import annotations

from tests.chaos.soak import Soak


def test_mixed_traffic_leaves_nothing_behind():
    result = Soak(seconds=3, every=1, ttl=2, pause=0.01, idle=0.5).run()
    assert result["complaints"] == []
    assert result["samples"]
    assert result["counts"]["hits"]
    assert result["counts"]["writes"]


def test_what_grows_is_told():
    soak = Soak(seconds=0, every=1, ttl=2, pause=0.01)
    for number in range(80):
        sample = dict.fromkeys(("redis_bytes", "strict_bytes", "fast_bytes", "none_bytes"), 100 * 2**20)
        soak.samples.append({**sample, "fast_bytes": (100 + number) * 2**20, "keys": 1000})
    soak._judge_memory()
    soak._judge_keys()
    assert [complaint.partition(" grew")[0] for complaint in soak.complaints] == ["fast_bytes"]
    for number, each in enumerate(soak.samples):
        each["keys"] += 50 * number
    soak._judge_keys()
    assert soak.complaints[-1].startswith("keys grew")
