from __future__ import annotations

from httpx import Response


def is_hit(response: Response) -> bool:
    return "; hit" in response.headers["Cache-Status"]


def test_the_fastapi_application_serves_what_was_written(serve_example):
    client = serve_example("fastapi_app.py")
    assert [is_hit(client.get("/users/1")) for _ in range(2)] == [False, True]
    assert [is_hit(client.get("/users/2")) for _ in range(2)] == [False, True]

    client.put("/users/1", json={"name": "Ada King"}).raise_for_status()

    first, second = client.get("/users/1"), client.get("/users/2")
    assert (is_hit(first), first.json()) == (False, {"id": 1, "name": "Ada King"})
    assert is_hit(second)
    assert client.get("/users/3").status_code == 404


def test_the_starlette_application_flushes_the_report_with_the_article(serve_example):
    client = serve_example("starlette_app.py")
    for path in ("/articles/1", "/articles/2", "/reports/2026"):
        assert [is_hit(client.get(path)) for _ in range(2)] == [False, True]

    client.put("/articles/1", content="Boil.").raise_for_status()

    assert client.get("/articles/1").text == "Boil."
    assert is_hit(client.get("/articles/2"))
    report = client.get("/reports/2026")
    assert (is_hit(report), report.text) == (False, "2026: 2 articles, 20 characters\n")
    assert client.get("/articles/3").status_code == 404
