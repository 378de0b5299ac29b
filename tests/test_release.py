"""What would be released is whole and works by itself; `make release-check` does the same in an empty environment."""

from __future__ import annotations

import re
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from scripts import release_check
from scripts.release_check import ROOT

README = (ROOT / "README.md").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OF_THE_REPOSITORY = {"all", "bench", "demo", "dev", "docs"}
"""Extras that are not for users' applications, and the one that is all of those that are."""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The sdist and the wheel."""
    return release_check.build(tmp_path_factory.mktemp("dist"))


def test_the_sdist_and_the_wheel_are_whole(built: tuple[Path, Path]) -> None:
    tracked = release_check.tracked()
    assert {"rcache/py.typed", "rcache/stores/redis/lua/lookup.lua", "mkdocs.yml"} <= tracked
    assert release_check.missing(*built, tracked) == []
    with zipfile.ZipFile(built[1]) as wheel:
        assert {name.split("/")[0] for name in wheel.namelist()} == {
            "pytest_rcache.py",
            "rcache",
            f"rcache-{PROJECT['version']}.dist-info",
        }


def test_the_wheel_runs_the_first_application(built: tuple[Path, Path], tmp_path: Path) -> None:
    assert release_check.light(built[1], tmp_path) == PROJECT["version"]


def test_a_file_that_is_left_out_is_found(tmp_path: Path) -> None:
    sdist, wheel = tmp_path / "a.tar.gz", tmp_path / "a.whl"
    (tmp_path / "here.py").touch()
    with tarfile.open(sdist, "w:gz") as packed:
        packed.add(tmp_path / "here.py", "a-1/rcache/here.py")
    with zipfile.ZipFile(wheel, "w") as packed:
        packed.write(tmp_path / "here.py", "rcache/here.py")
    assert release_check.missing(sdist, wheel, {"rcache/here.py", "rcache/lost.lua"}) == [
        "not in the sdist: rcache/lost.lua",
        "not in the wheel: rcache/lost.lua",
    ]


def test_all_is_every_extra_for_users() -> None:
    extras = PROJECT["optional-dependencies"]
    named = {name for each in extras["all"] for name in re.findall(r"[\w-]+", each.partition("[")[2])}
    assert named == set(extras) - OF_THE_REPOSITORY
    assert {name for name in named if f"`{name}`" not in README} == set(), "the README names them"
    assert named == set(release_check.extras()), "make release-check installs each by itself"


def test_the_changelog_has_the_form_that_it_names() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    assert re.findall(r"^## (.*)$", text, re.MULTILINE)[0] == "[Unreleased]"
    assert all(
        re.fullmatch(r"\[.+\](?: - \d{4}-\d\d-\d\d)?", each) for each in re.findall(r"^## (.*)$", text, re.MULTILINE)
    )
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert set(re.findall(r"^### (.*)$", text, re.MULTILINE)) <= kinds
