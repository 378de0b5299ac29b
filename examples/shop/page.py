"""The shop's front page."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from pathlib import Path
from string import Template

from .queries import ProductOut

_HOME = Template((Path(__file__).parent / "home.html").read_text(encoding="utf-8"))


def render_home(categories: Iterable[tuple[str, str, int]], best_sellers: Iterable[ProductOut]) -> str:
    """The page in full: it needs no other file."""
    return _HOME.substitute(
        categories="\n".join(_category(*category) for category in categories),
        best_sellers="\n".join(_card(product) for product in best_sellers),
    )


def _category(slug: str, name: str, products: int) -> str:
    return f'<li><a href="/categories/{escape(slug)}">{escape(name)} <small>{products}</small></a></li>'


def _card(product: ProductOut) -> str:
    euros = f"€ {product.price_cents / 100:.2f}"
    return (
        f'<li class="card" data-id="{product.id}"><span class="shelf">{escape(product.category)}</span>'
        f'<a href="/products/{product.id}">{escape(product.name)}</a>'
        f'<span class="price">{euros}</span>'
        f"<small>★ {product.rating:.1f} from {product.reviews} · {product.stock} in stock</small></li>"
    )
