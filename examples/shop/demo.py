"""The shop's story, told in the terminal: `make demo`.

It checks what it tells, and ends with 1 where the story does not come true.
"""

from __future__ import annotations

import http.client
import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from examples.server import Server, ServerError

REQUESTS = 200
LIST = "/products"


class StoryError(Exception):
    """Something that the demo was about to tell is not true."""


def expect(is_true: bool, claim: str) -> None:
    """The story goes on only if `claim` holds."""
    if not is_true:
        raise StoryError(claim)


@dataclass(frozen=True)
class Answer:
    """One response, and how long it took in seconds."""

    status: int
    cache_status: str
    body: bytes
    seconds: float

    @property
    def is_hit(self) -> bool:
        """It came from the cache."""
        return "hit" in [parameter.strip() for parameter in self.cache_status.split(";")[1:]]

    @property
    def word(self) -> str:
        """`hit`, or what the shop did instead."""
        return "hit" if self.is_hit else "miss"

    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)


class Browser:
    """One keep-alive connection to the shop."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def get(self, path: str) -> Answer:
        """The answer to a GET, which must be a 200."""
        return self._ask("GET", path, None)

    def put(self, path: str, body: dict[str, Any]) -> Answer:
        """The answer to a PUT, which must be a 200."""
        return self._ask("PUT", path, json.dumps(body))

    def close(self) -> None:
        """Hangs up."""
        self._connection.close()

    def _ask(self, method: str, path: str, body: str | None) -> Answer:
        started = time.perf_counter()
        self._connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
        response = self._connection.getresponse()
        content = response.read()
        answer = Answer(response.status, response.getheader("Cache-Status", ""), content, time.perf_counter() - started)
        expect(answer.status == 200, f"{method} {path} is answered with 200, not {answer.status}")
        return answer


class Terminal:
    """Plain lines; colour is added only where somebody looks at them."""

    def __init__(self) -> None:
        self._has_colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ

    def line(self, text: str = "") -> None:
        """One line, at once."""
        print(text, flush=True)

    def heading(self, text: str) -> None:
        """A line that opens a chapter."""
        self.line()
        self.line(self._coloured("1", text))

    def word(self, word: str, width: int = 0) -> str:
        """`hit` in green, `miss` in yellow, padded to `width`."""
        return self._coloured("32" if word == "hit" else "33", word) + " " * (width - len(word))

    def _coloured(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._has_colour else text


def tell_miss_and_hit(shop: Browser, terminal: Terminal) -> None:
    """The first reader waits for the database, the second does not."""
    terminal.heading("1. The first reader waits for the database, the second does not")
    shop.get(f"{LIST}?page=9")  # connections and compiled queries are warm: what follows times the query alone
    first, second = shop.get(LIST), shop.get(LIST)
    for answer in (first, second):
        terminal.line(f"   GET {LIST}  {milliseconds(answer.seconds)}   {answer.cache_status}")
    expect(not first.is_hit, "the first GET is a miss")
    expect(second.is_hit, "the second GET is a hit")
    expect(first.body == second.body, "the hit has the bytes of the miss")


def tell_the_write(shop: Browser, terminal: Terminal) -> None:
    """A write flushes the pages that show what it changed, and no other."""
    terminal.heading("2. A write flushes the pages that show what it changed, and no other")
    product, *others = shop.get(LIST).json()["products"]
    elsewhere = next(other for other in others if other["category"] != product["category"])
    affected = [f"/products/{product['id']}", LIST, f"/categories/{product['category']}"]
    # The front page shows the best sellers, which the product is not among.
    unaffected = [f"/products/{elsewhere['id']}", f"{LIST}?page=2", f"/categories/{elsewhere['category']}", "/"]
    pages = affected + unaffected
    before = {page: (shop.get(page), shop.get(page))[1] for page in pages}

    price = product["price_cents"] + 100
    changed = shop.put(affected[0], {"price_cents": price})
    after = {page: shop.get(page) for page in pages}

    terminal.line(f'   PUT {affected[0]}  {{"price_cents": {price}}}  {milliseconds(changed.seconds)}')
    terminal.line()
    width = max(map(len, pages)) + 3
    terminal.line(f"   {'page':{width}}before   after")
    for page in pages:
        shows = "shows it" if page in affected else ""
        words = terminal.word(before[page].word, 9) + terminal.word(after[page].word, 7)
        terminal.line(f"   {page:{width}}{words}{shows}".rstrip())
    terminal.line()

    expect(all(answer.is_hit for answer in before.values()), "every page is a hit before the write")
    expect(not any(after[page].is_hit for page in affected), "every page that shows the product is flushed")
    expect(all(after[page].is_hit for page in unaffected), "every other page is still a hit")
    now = after[affected[0]].json()["price_cents"]
    expect(now == price, "the new price is shown")
    terminal.line(f"   Its page says {product['price_cents'] / 100:.2f} no more, but {now / 100:.2f}.")


def tell_the_speed(shop: Browser, uncached: Browser, terminal: Terminal) -> None:
    """Hits against the same endpoint without the cache."""
    terminal.heading(f"3. GET {LIST}, {REQUESTS} requests each way on one connection")
    uncached.get(LIST)
    shop.get(LIST)
    without = [uncached.get(LIST) for _ in range(REQUESTS)]
    hits = [shop.get(LIST) for _ in range(REQUESTS)]
    expect(not any(answer.is_hit for answer in without), "the uncached shop asks its database each time")
    expect(all(answer.is_hit for answer in hits), "each of these requests is a hit")
    expect({answer.body for answer in without} == {hits[0].body}, "both shops answer with the same bytes")
    for name, answers in (("from the database", without), ("from the cache", hits)):
        total = sum(answer.seconds for answer in answers)
        rate = f"{len(answers) / total:8,.0f} requests/s"
        terminal.line(f"   {name:20}{rate}   {milliseconds(median(answer.seconds for answer in answers))} each")
    ratio = sum(answer.seconds for answer in without) / sum(answer.seconds for answer in hits)
    expect(ratio > 1, "a hit is faster than the database")
    terminal.line(f"   A hit is {ratio:.0f} times as fast.")


def milliseconds(seconds: float) -> str:
    """As the tables show a duration."""
    return f"{seconds * 1000:7.2f} ms"


def tell(directory: Path, terminal: Terminal) -> None:
    """The whole story, with a shop of its own."""
    # The cache is embedded, whatever the environment says.
    environment: dict[str, str | None] = {"SHOP_DATABASE": str(directory / "shop.sqlite3"), "RCACHE_URL": None}
    # Each shop keeps its connection open while the other one is timed.
    factory = ("examples.shop.app:create_app", "--factory", "--timeout-keep-alive", "60")
    with Server(*factory, environment=environment | {"SHOP_CACHE": None}) as server:
        terminal.line(
            f"A shop is open on http://127.0.0.1:{server.port}: FastAPI, SQLAlchemy, a SQLite file with 3,456"
        )
        terminal.line("products and 41,472 reviews; the cache is in the process.")
        shop = Browser(server.port)
        tell_miss_and_hit(shop, terminal)
        tell_the_write(shop, terminal)
        with Server(*factory, environment=environment | {"SHOP_CACHE": "off"}) as second_server:
            uncached = Browser(second_server.port)
            tell_the_speed(shop, uncached, terminal)
            uncached.close()
        shop.close()
    terminal.line()
    terminal.line("That was it. `make serve` keeps the shop open for a browser.")


def main() -> int:
    """Zero if the story came true."""
    with tempfile.TemporaryDirectory(prefix="rcache-demo-") as directory:
        try:
            tell(Path(directory), Terminal())
        except StoryError as error:
            print(f"\nThe story did not come true. This should hold: {error}.", file=sys.stderr)
            return 1
        except (ServerError, OSError, http.client.HTTPException) as error:
            print(f"\nThe shop could not be reached: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
