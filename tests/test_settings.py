"""Where settings come from, which wins, and what is said of those that cannot work."""

from __future__ import annotations

import ast
import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

import rcache
from rcache import Cache, CacheMiddleware, ConfigurationError, Rule, Settings, cached
from rcache.core.audit import Audit
from rcache.core.configuration import CHECKS, CacheSettings, MiddlewareSettings, shown_url
from rcache.environment import from_environment
from rcache.settings import CACHE, DEFAULTS, MIDDLEWARE, NAMES
from tests.support import RawClient

ROOT = Path(__file__).parents[1]
SECRET = "hunter2"


@pytest.fixture(autouse=True)
def _nothing_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable in list(os.environ):
        if variable.startswith("RCACHE_"):
            monkeypatch.delenv(variable)
    monkeypatch.chdir(tmp_path)


def write(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "pyproject.toml"
    path.write_text(text)
    return path


# Who says it


def test_where_nobody_says_anything_the_defaults_are_in_force():
    settings = Settings.load()
    assert {name: getattr(settings, name) for name in NAMES} == DEFAULTS
    assert set(settings.sources.values()) == {"default"}
    assert settings == Settings()
    assert repr(settings) == "Settings()"


def test_code_wins_over_the_environment_and_that_over_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    path = write(tmp_path, '[tool.rcache]\nnear = "fast"\ndefault_ttl = "1h"\nmax_body = 100\n')
    monkeypatch.setenv("RCACHE_NEAR", "strict")
    monkeypatch.setenv("RCACHE_DEFAULT_TTL", "5m")
    settings = Settings.load(default_ttl=7)
    assert (settings.default_ttl, settings.near, settings.max_body) == (7.0, "strict", 100)
    assert {name: source for name, source in settings.sources.items() if source != "default"} == {
        "default_ttl": "code",
        "near": "environment RCACHE_NEAR",
        "max_body": f"{path} [tool.rcache]",
    }


def test_what_code_says_wins_also_where_it_is_the_default(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RCACHE_NAMESPACE", "shop")
    monkeypatch.setenv("RCACHE_DEFAULT_TTL", "5m")
    assert Cache("memory://").settings.namespace == "shop"
    assert Cache("memory://", namespace="rcache").settings.namespace == "rcache"
    assert CacheMiddleware(Starlette(), default_ttl=None).settings.default_ttl is None


async def test_a_cache_and_a_middleware_with_nothing_given_go_by_what_is_said_elsewhere(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    write(tmp_path, "[tool.rcache]\nmax_body = 5\nkey_host = false\n")
    monkeypatch.setenv("RCACHE_DEFAULT_TTL", "9s")

    async def page(request: Any) -> PlainTextResponse:
        return PlainTextResponse(request.path_params["text"])

    app = CacheMiddleware(Starlette(routes=[Route("/{text}", page)]))
    assert (app.cache.max_body, app.cache.key_host) == (5, False)
    client = RawClient(app)
    assert (await client.get("/short")).is_stored
    assert (await client.get("/short", {"host": "other"})).cache == "rcache; hit; ttl=9"
    assert (await client.get("/longer")).cache == "rcache; fwd=miss; detail=too-large"
    await app.cache.close()


def test_one_object_serves_cache_and_middleware_and_keywords_win_over_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RCACHE_MAX_BODY", "1")  # nobody asks again
    settings = Settings(max_body=2, default_ttl=3)
    assert Cache(settings=settings).max_body == 2
    assert Cache(settings=settings, max_body="3kB").settings.sources["max_body"] == "code"
    middleware = CacheMiddleware(Starlette(), settings=settings, default_ttl="4s")
    assert (middleware.settings.default_ttl, middleware.cache.max_body) == (4.0, 2)
    assert settings.default_ttl == 3.0, "it is never changed"
    with pytest.raises(ConfigurationError, match=r"settings=5 is no Settings: write settings=Settings\.load"):
        Cache(settings=5)  # type: ignore[arg-type]


async def test_switched_off_everything_passes(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RCACHE_ENABLED", "0")

    @cached(ttl=60, methods=["POST"])
    async def page(request: Any) -> PlainTextResponse:
        return PlainTextResponse("page")

    app = CacheMiddleware(
        Starlette(routes=[Route("/", page, methods=["GET", "POST"]), Route("/ruled", page)]),
        rules=[Rule("/ruled", ttl=5)],
        default_ttl=5,
    )
    for method, path in [("GET", "/"), ("POST", "/"), ("GET", "/ruled"), ("HEAD", "/")] * 2:
        answer = await RawClient(app).request(method, path)
        assert (answer.status, answer.cache) == (200, None)
    assert (await app.cache.invalidate("x")).landed
    await app.cache.close()


# The environment


@pytest.mark.parametrize(
    ("variable", "text", "value"),
    [
        ("RCACHE_URL", "redis://a:6379/0", "redis://a:6379/0"),
        ("RCACHE_NAMESPACE", "shop", "shop"),
        ("RCACHE_MAX_BYTES", "2MiB", 2 << 20),
        ("RCACHE_MAX_BYTES", "1024", 1024),
        ("RCACHE_MAX_VARIANTS", "7", 7),
        ("RCACHE_DEADLINE", "20ms", 0.02),
        ("RCACHE_DEADLINE", "0.1", 0.1),
        ("RCACHE_WAIT", "0", 0.0),
        ("RCACHE_NEAR", "strict", "strict"),
        ("RCACHE_NEAR", "none", None),
        ("RCACHE_ON_OUTAGE", "abort", "abort"),
        ("RCACHE_KEY_HOST", "off", False),
        ("RCACHE_ENABLED", "No", False),
        ("RCACHE_AUTO", "TRUE", True),
        ("RCACHE_DEFAULT_TTL", " 1h30m ", 5400.0),
        ("RCACHE_VARY", "Accept-Language, X-Shop", ("accept-language", "x-shop")),
        ("RCACHE_QUERY", "page,size", ("page", "size")),
        ("RCACHE_QUERY", "declared", "declared"),
        ("RCACHE_COOKIES", "ignore", "ignore"),
        ("RCACHE_COOKIES", "theme", ("theme",)),
        ("RCACHE_KEY_BY", "cookie:session", "cookie:session"),
        ("RCACHE_EARLY", "0.8", 0.8),
        ("RCACHE_EARLY", "1", True),
        ("RCACHE_COMPRESS", "gzip", "gzip"),
        ("RCACHE_COMPRESS", "false", False),
        ("RCACHE_PROFILE", "conformant", "conformant"),
    ],
)
def test_the_environment_is_read_as_people_write_it(
    monkeypatch: pytest.MonkeyPatch, variable: str, text: str, value: Any
):
    monkeypatch.setenv(variable, text)
    name = variable.removeprefix("RCACHE_").lower()
    settings = Settings.load()
    assert getattr(settings, name) == value
    assert settings.sources[name] == f"environment {variable}"


def test_every_setting_but_one_that_is_code_can_be_said_in_the_environment(monkeypatch: pytest.MonkeyPatch):
    texts = {
        **dict.fromkeys(("namespace", "key_by", "query", "cookies", "vary"), "a"),
        "on_outage": "abort",
        "near": "fast",
        "profile": "conformant",
        "compress": "gzip",
        "early": "0.5",
        "audit": "0.5",
        "refresh": "worker",
    }
    for name in set(NAMES) - {"guard", "url"}:
        default = DEFAULTS[name]
        text = texts.get(name) or ("false" if default is True else "true" if "bool" in _type(name) else "3")
        monkeypatch.setenv(f"RCACHE_{name.upper()}", text)
    settings = Settings.load()
    said = {name for name, source in settings.sources.items() if source.startswith("environment")}
    assert said == set(NAMES) - {"guard", "url"}
    assert not any(getattr(settings, name) == DEFAULTS[name] for name in said)
    monkeypatch.setenv("RCACHE_GUARD", "shop:guard")
    with pytest.raises(ConfigurationError, match="RCACHE_GUARD: guard is a callable, and can only be given in code"):
        Settings.load()


def _type(name: str) -> str:
    return str(Settings.__annotations__[name])


def test_what_is_empty_says_nothing(monkeypatch: pytest.MonkeyPatch):
    for name in NAMES:
        monkeypatch.setenv(f"RCACHE_{name.upper()}", " ")
    assert Settings.load() == Settings()


def test_a_variable_that_nobody_knows_is_refused_with_the_nearest_and_without_its_value(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("RCACHE_DEFAULT_TLL", SECRET)
    with pytest.raises(ConfigurationError) as caught:
        Cache("memory://")
    assert str(caught.value) == "RCACHE_DEFAULT_TLL in the environment is no setting: did you mean RCACHE_DEFAULT_TTL?"
    assert SECRET not in str(caught.value)
    monkeypatch.delenv("RCACHE_DEFAULT_TLL")
    monkeypatch.setenv("RCACHE_zzz", "1")
    with pytest.raises(ConfigurationError, match="RCACHE_zzz in the environment is no setting: there are RCACHE_URL, "):
        Settings.load()


def test_what_others_put_there_is_left_alone(monkeypatch: pytest.MonkeyPatch):
    for variable in ("RCACHE_DSN", "RCACHE_SERVICE_HOST", "RCACHE_PORT", "RCACHE_PORT_6379_TCP_ADDR"):
        monkeypatch.setenv(variable, "x")
    assert Settings.load() == Settings()


@pytest.mark.parametrize(
    ("variable", "text", "told"),
    [
        ("RCACHE_DEADLINE", "soon", "deadline='soon' is not a duration"),
        ("RCACHE_MAX_BODY", "lots", "max_body='lots' is not a size"),
        ("RCACHE_MAX_VARIANTS", "many", "max_variants='many' must be a whole number"),
        ("RCACHE_ENABLED", "perhaps", "enabled='perhaps' must be True or False"),
        ("RCACHE_NEAR", "close", 'near=\'close\' must be None or "fast" or "strict"'),
        ("RCACHE_EARLY", "2", "early=2.0 must be True"),
        ("RCACHE_VARY", "a b", "vary: 'a b' is not a header name"),
        ("RCACHE_COMPRESS", "lzma", "'lzma' is no coding that is known here"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_source_and_its_remedy(
    monkeypatch: pytest.MonkeyPatch, variable: str, text: str, told: str
):
    monkeypatch.setenv(variable, text)
    with pytest.raises(ConfigurationError, match=rf"^environment {variable}: .*{re.escape(told)}"):
        Settings.load()


@given(st.sampled_from(sorted(set(NAMES) - {"guard"})), st.text())
def test_any_text_is_read_or_refused(name: str, text: str):
    with contextlib.suppress(ConfigurationError):
        for each in from_environment({f"RCACHE_{name.upper()}": text}).values():
            assert CHECKS[name](each.value, name) == each.value, "what was checked passes again"


# The file


def test_the_nearest_file_that_has_the_table_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    path = write(tmp_path, "[tool.rcache]\nmax_body = 5\nquery = ['page']\nauto = true\n")
    inner = tmp_path / "services" / "shop"
    write(inner, '[project]\nname = "shop"\ndependencies = ["rcache"]\n')
    monkeypatch.chdir(inner)
    settings = Settings.load()
    assert (settings.max_body, settings.query, settings.auto) == (5, ("page",), True)
    assert settings.sources["query"] == f"{path} [tool.rcache]"
    path.write_text("[tool.rcache]\nmax_body = 12345\n")
    assert Settings.load().max_body == 12345, "a file that has changed is read anew"
    write(inner, "[tool.rcache]\n")
    assert Settings.load().max_body == 12345, "an empty table says nothing"


def test_a_file_may_be_named_and_then_it_is_that_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    write(tmp_path, "[tool.rcache]\nmax_body = 5\n")
    other = tmp_path / "cache.toml"
    other.write_text("[tool.rcache]\nmax_bytes = 7\n")
    monkeypatch.setenv("RCACHE_CONFIG", str(other))
    settings = Settings.load()
    assert (settings.max_bytes, settings.max_body) == (7, 1 << 20)
    other.write_text("[tool.shop]\n")
    with pytest.raises(ConfigurationError, match=r"cache\.toml: the file has no table \[tool\.rcache\]"):
        Settings.load()
    monkeypatch.setenv("RCACHE_CONFIG", str(tmp_path / "nowhere.toml"))
    with pytest.raises(ConfigurationError, match=r"RCACHE_CONFIG=.*nowhere\.toml: No such file"):
        Settings.load()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "[tool.rcache]\ndefault_tll = 5\n",
            r"\[tool\.rcache\]: default_tll is no setting: did you mean default_ttl\?",
        ),
        ("[tool.rcache.near]\nmode = 'fast'\n", r"\[tool\.rcache\]: near=\{'mode': 'fast'\} must be None or"),
        ("[tool.rcache]\nmax_body = 1.5\n", r"\[tool\.rcache\]: max_body=1\.5 is not a size"),
        ("[tool.rcache]\nenabled = 1\n", r"\[tool\.rcache\]: enabled=1 must be True or False"),
        ("[tool.rcache]\nguard = 'a:b'\n", "guard is a callable, and can only be given in code"),
        ("[tool.rcache\n", r"pyproject\.toml is no TOML that can be read"),
        ("[tool]\nrcache = 5\n", r"tool\.rcache is no table"),
        ("[tool.rcache]\npassword = 'hunter2'\n", r"password is no setting: there are url, [^2]*$"),
    ],
)
def test_a_table_that_cannot_work_is_refused(tmp_path: Path, text: str, told: str):
    write(tmp_path, text)
    with pytest.raises(ConfigurationError, match=told):
        Settings.load()


def test_a_working_directory_that_is_gone_has_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert Settings.load() == Settings()


# What cannot work


def test_a_keyword_that_is_no_setting_is_refused_with_the_nearest():
    with pytest.raises(ConfigurationError, match=r"^namspace= is no setting of Cache: did you mean namespace=\?"):
        Cache("memory://", namspace="x")  # type: ignore[call-arg]
    with pytest.raises(ConfigurationError, match=r"^max_body= is no setting of CacheMiddleware: there are enabled, "):
        CacheMiddleware(Starlette(), max_body=5)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"auto": True}, "auto=True needs default_ttl="),
        ({"auto": True, "profile": "conformant", "standard": False}, "auto=True needs default_ttl="),
        ({"timeout": "2s", "hard_timeout": 1}, "hard_timeout=1 ends a run before timeout=2"),
        ({"max_bytes": "1kB", "max_body": "2kB"}, "max_body=2000 is more than the embedded cache's max_bytes=1000"),
    ],
)
def test_what_contradicts_is_refused_with_the_remedy(settings: dict[str, Any], told: str):
    loaded = Settings.load(**settings)
    assert [each[: len(told)] for each in loaded.contradictions()] == [told]
    with pytest.raises(ConfigurationError, match=re.escape(told)):
        CacheMiddleware(Starlette(), Cache(settings=loaded), settings=loaded)


@pytest.mark.parametrize(
    "settings",
    [
        {"auto": True, "standard": True},
        {"auto": True, "profile": "conformant"},
        {"auto": True, "default_ttl": 5},
        {"timeout": 2, "hard_timeout": 2},
        {"near": "fast"},  # an embedded cache is near already, and Redis is perhaps for production only
        {"max_bytes": 2000, "max_body": 2000},
        {"max_bytes": 1000},  # nobody has said how long a body is
        {"url": "redis://127.0.0.1:1", "max_bytes": 1000, "max_body": 2000},
        {"deadline": 5, "purge_timeout": 1},
    ],
    ids=str,
)
def test_what_works_together_is_no_contradiction(settings: dict[str, Any]):
    assert Settings.load(**settings).contradictions() == []


def test_a_rule_whose_timeouts_contradict_is_refused():
    with pytest.raises(ConfigurationError, match="hard_timeout=1 ends a run before timeout=2"):
        Rule("/", timeout=2, hard_timeout=1)


# Secrets


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("memory://", "memory://"),
        ("redis://host:6379/0", "redis://host:6379/0"),
        ("redis://user:hunter2@host:6379/0", "redis://host:6379/0"),
        ("redis+cluster://:hunter2@one:7000,two:7001", "redis+cluster://one:7000,two:7001"),
        ("rediss://host/0?password=hunter2", "rediss://host/0"),
        ("redis://host?password=hun@ter2", "..."),
        ("redis://:hun@ter2@host", "..."),
        ("redis://:hun?ter2@host", "..."),
        ("hunter2@host", "..."),
        ("", "..."),
    ],
)
def test_a_url_is_shown_without_its_secrets(url: str, shown: str):
    assert shown_url(url) == shown
    settings = Settings(url=url)
    assert SECRET not in repr(settings)
    assert settings.rows()[0] == ("url", shown, "default" if url == "memory://" else "code")


@given(st.text(min_size=3).map(lambda text: f"~{text}~"), st.sampled_from(["redis", "rediss", "redis+sentinel"]))
def test_no_password_is_ever_shown(password: str, scheme: str):
    for url in (f"{scheme}://u:{password}@h/0", f"{scheme}://{password}@h", f"{scheme}://h/0?password={password}"):
        assert password not in shown_url(url)


def test_no_error_shows_the_password_of_a_url(monkeypatch: pytest.MonkeyPatch):
    for url in (f"memory://u:{SECRET}@h", f"http://u:{SECRET}@h", f"redis://u:{SECRET}@h:x", f"{SECRET}@h"):
        monkeypatch.setenv("RCACHE_URL", url)
        with pytest.raises(ConfigurationError) as caught:
            Cache()
        assert SECRET not in str(caught.value)


def test_rows_tell_every_setting_in_values_that_a_program_can_print():
    def whose(request: Any) -> str:
        return "x"

    rows = {row.name: row for row in Settings(key_by=whose, vary=("a",), default_ttl="5m").rows()}  # type: ignore[arg-type]
    assert list(rows) == list(NAMES)
    assert rows["key_by"].value == f"{__name__}:{whose.__qualname__}"
    assert (rows["vary"].value, rows["default_ttl"]) == (["a"], ("default_ttl", 300.0, "code"))
    assert rows["deadline"] == ("deadline", 0.05, "default")
    told = Settings(audit=Audit(0.5), url=object(), query="declared").rows()
    assert json.loads(json.dumps([row.value for row in told]))[0] == "<object>"


# One home for each fact


def documented() -> dict[str, str]:
    """What the fields of `Settings` are said to mean, in the source."""
    source = ast.parse(Path(rcache.settings.__file__).read_text())
    (body,) = [node.body for node in source.body if isinstance(node, ast.ClassDef) and node.name == "Settings"]
    said = {}
    for node, after in pairwise(body):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and isinstance(after, ast.Expr):
            said[node.target.id] = " ".join(ast.literal_eval(after.value).split())
    return said


def test_each_setting_has_a_type_for_code_a_check_a_default_and_a_meaning():
    assert set(CACHE) - {"url"} == set(CacheSettings.__annotations__)
    assert (*CACHE, *MIDDLEWARE) == NAMES == tuple(name for name in Settings.__annotations__ if name in CHECKS)
    assert set(MIDDLEWARE) == set(MiddlewareSettings.__annotations__)
    assert set(documented()) == {*NAMES, "sources"}


def tables() -> Iterator[tuple[str, str, str]]:
    page = (ROOT / "docs" / "configuration.md").read_text()
    yield from re.findall(r"^\| `(\w+)` \| `(.*?)` \| (.*) \|$", page, re.MULTILINE)


def test_the_page_tells_every_setting_its_default_and_its_meaning_as_the_source_does():
    rows = list(tables())
    meanings = documented()
    assert [name for name, _, _ in rows] == list(NAMES)
    for name, said, meaning in rows:
        assert said == "memory://" if name == "url" else CHECKS[name](ast.literal_eval(said), name) == DEFAULTS[name], (
            name
        )
        assert meaning == meanings[name].replace("|", "\\|"), name


def test_a_file_is_parsed_only_where_there_is_one(tmp_path: Path):
    code = "import sys, rcache; rcache.Cache(); print('tomllib' in sys.modules)"
    for text, loads in ((None, False), ("[project]\nname = 'shop'\n", False), ("[tool.rcache]\n", True)):
        if text is not None:
            write(tmp_path, text)
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            timeout=60,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert (done.stdout, done.stderr) == (f"{loads}\n", "")
