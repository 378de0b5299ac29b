from __future__ import annotations

import re


def test_two_nodes_with_one_redis_serve_what_either_wrote(run_module, redis_server):
    done = run_module("examples.two_nodes.run", RCACHE_URL=redis_server.url)

    assert (done.returncode, done.stderr) == (0, "")
    told = re.findall(r"^(GET|PUT) on (A|B) +(\w+)\. *(?:rcache; (hit|fwd=miss).*)?$", done.stdout, re.MULTILINE)
    assert told == [
        ("PUT", "A", "Green", ""),
        ("GET", "A", "Green", "fwd=miss"),
        ("GET", "B", "Green", "hit"),
        ("PUT", "B", "Black", ""),
        ("GET", "A", "Black", "fwd=miss"),
        ("GET", "B", "Black", "hit"),
    ]


def test_without_redis_the_nodes_still_answer_and_the_story_says_what_is_missing(run_module):
    done = run_module("examples.two_nodes.run", RCACHE_URL="redis://127.0.0.1:1")

    assert done.returncode == 1
    assert "GET on A   Green." in done.stdout
    assert "Is there a Redis at redis://127.0.0.1:1?" in done.stderr
