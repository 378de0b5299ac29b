"""What the shop sells: made up, and the same at every start."""

from __future__ import annotations

from random import Random
from typing import Any

CATEGORIES = {
    "coffee": "Coffee",
    "tea": "Tea",
    "chocolate": "Chocolate",
    "spices": "Spices",
    "kitchen": "Kitchen",
    "ceramics": "Ceramics",
}

_ADJECTIVES = (
    "Amber",
    "Early",
    "Fine",
    "Golden",
    "Hidden",
    "Little",
    "Northern",
    "Old",
    "Quiet",
    "Roasted",
    "Slow",
    "Wild",
)
_PLACES = (
    "Andes",
    "Bergen",
    "Cusco",
    "Darjeeling",
    "Harar",
    "Java",
    "Kyoto",
    "Lisbon",
    "Madras",
    "Oaxaca",
    "Trieste",
    "Uji",
)
_THINGS = {
    "coffee": ("Espresso", "Filter Roast", "Decaf", "Green Beans"),
    "tea": ("Green Tea", "Black Tea", "Oolong", "Rooibos"),
    "chocolate": ("Dark 70%", "Milk 45%", "Nib Bar", "Praline"),
    "spices": ("Pepper", "Cardamom", "Saffron", "Chilli"),
    "kitchen": ("Grinder", "Kettle", "Scale", "Whisk"),
    "ceramics": ("Cup", "Bowl", "Teapot", "Saucer"),
}

REVIEWS_PER_PRODUCT = 12


def categories() -> list[dict[str, Any]]:
    """One row per category."""
    return [
        {"id": number, "slug": slug, "name": name} for number, (slug, name) in enumerate(CATEGORIES.items(), start=1)
    ]


def products() -> list[dict[str, Any]]:
    """Every adjective, place and thing once: 3,456 rows."""
    random = Random(1)
    rows: list[dict[str, Any]] = []
    for category_id, slug in enumerate(CATEGORIES, start=1):
        for name in [f"{a} {p} {t}" for a in _ADJECTIVES for p in _PLACES for t in _THINGS[slug]]:
            price = random.randrange(300, 9000, 10)
            row = {"category_id": category_id, "name": name, "price_cents": price}
            rows.append(row | {"id": len(rows) + 1, "stock": random.randint(20, 200), "sold": random.randint(0, 5000)})
    return rows


def reviews(products: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A dozen stars for each product."""
    random = Random(2)
    rows: list[dict[str, Any]] = []
    for product in products:
        best = random.randint(3, 5)
        rows += [{"product_id": product["id"], "stars": random.randint(1, best)} for _ in range(REVIEWS_PER_PRODUCT)]
    return rows
