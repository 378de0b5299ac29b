from __future__ import annotations

from starlette.testclient import TestClient


def is_hit(client: TestClient, path: str, **headers: str) -> bool:
    response = client.get(path, headers=headers)
    assert response.status_code == 200
    return "; hit" in response.headers["Cache-Status"]


def warm(client: TestClient, *paths: str) -> None:
    for path in paths:
        client.get(path)
        assert is_hit(client, path), path


def hits(client: TestClient, *paths: str) -> dict[str, bool]:
    return {path: is_hit(client, path) for path in paths}


def test_the_list_has_its_pages_best_rated_first(shop):
    first, last = shop.get("/products").json(), shop.get("/products?page=144").json()

    assert (first["page"], first["pages"], len(first["products"]), len(last["products"])) == (1, 144, 24, 24)
    ratings = [product["rating"] for product in first["products"] + last["products"]]
    assert ratings == sorted(ratings, reverse=True)
    assert shop.get("/products?page=145").json()["products"] == []


def test_a_list_can_be_of_one_category(shop):
    tea = shop.get("/products?category=tea").json()

    assert tea["pages"] == 24
    assert {product["category"] for product in tea["products"]} == {"tea"}


def test_the_second_reader_is_answered_from_the_cache(shop):
    first, second = shop.get("/products"), shop.get("/products")

    assert "hit" not in first.headers["Cache-Status"]
    assert "; hit" in second.headers["Cache-Status"]
    assert first.content == second.content


def test_a_price_flushes_the_pages_that_show_it_and_no_other(shop):
    product = shop.get("/products").json()["products"][0]
    showing = [f"/products/{product['id']}", "/products", f"/categories/{product['category']}"]
    showing.append(f"/products?category={product['category']}")
    shelf = "tea" if product["category"] != "tea" else "coffee"
    others = ["/products?page=2", f"/categories/{shelf}", f"/products?category={shelf}", "/"]
    warm(shop, *showing, *others)

    price = product["price_cents"] + 1
    assert shop.put(showing[0], json={"price_cents": price}).json()["price_cents"] == price

    assert hits(shop, *showing) == dict.fromkeys(showing, False)
    assert hits(shop, *others) == dict.fromkeys(others, True)
    assert shop.get(showing[0]).json()["price_cents"] == price
    assert shop.get("/products").json()["products"][0]["price_cents"] == price


def test_a_price_flushes_the_category_even_where_it_does_not_show_the_product(shop):
    """Its page says from which price to which one can shop there."""
    shown = {product["id"] for product in shop.get("/categories/tea").json()["best"]}
    product = next(p for p in shop.get("/products?category=tea&page=9").json()["products"] if p["id"] not in shown)
    warm(shop, "/categories/tea")

    shop.put(f"/products/{product['id']}", json={"price_cents": 1}).raise_for_status()

    assert shop.get("/categories/tea").json()["from_cents"] == 1


def test_an_order_lowers_the_stock_and_flushes_the_front_page(shop):
    product = shop.get("/products/7").json()
    warm(shop, "/", "/products/7", "/products/8")

    assert shop.post("/orders", json={"product_id": 7, "quantity": 3}).status_code == 201

    assert hits(shop, "/", "/products/8") == {"/": False, "/products/8": True}
    assert shop.get("/products/7").json()["stock"] == product["stock"] - 3


def test_an_order_that_is_refused_flushes_nothing(shop):
    for _ in range(2):
        shop.post("/orders", json={"product_id": 7, "quantity": 100})
    stock = shop.get("/products/7").json()["stock"]
    warm(shop, "/", "/products/7")

    assert shop.post("/orders", json={"product_id": 7, "quantity": 100}).status_code == 409

    assert hits(shop, "/", "/products/7") == {"/": True, "/products/7": True}
    assert shop.get("/products/7").json()["stock"] == stock < 100


def test_what_is_not_there_is_neither_found_nor_stored(shop):
    for _ in range(2):
        for path in ("/products/0", "/categories/wine"):
            response = shop.get(path)
            assert response.status_code == 404
            assert "hit" not in response.headers["Cache-Status"]
    assert shop.put("/products/0", json={"price_cents": 1}).status_code == 404


def test_neither_cookies_nor_unknown_parameters_make_another_entry(shop):
    warm(shop, "/products?page=2")

    assert is_hit(shop, "/products?utm_source=letter&page=2", Cookie="session=somebody")
    assert not is_hit(shop, "/products?page=3")


def test_the_front_page_is_whole_and_cached(shop):
    first, second = shop.get("/"), shop.get("/")

    assert second.headers["Content-Type"] == "text/html; charset=utf-8"
    assert first.content == second.content
    assert "; hit" in second.headers["Cache-Status"]
    assert second.text.count('class="card"') == 8
    assert "$" not in second.text
    assert "http" not in second.text.replace("http-equiv", "")


def test_the_documentation_is_that_of_the_plain_endpoints(shop):
    operation = shop.get("/openapi.json").json()["paths"]["/products"]["get"]

    assert [parameter["name"] for parameter in operation["parameters"]] == ["page", "category"]
