"""Shared by all tests: small checkouts with a base image of this repository and the recipes of a test."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from imagefactory.system.workspace import Workspace

# The name of this run of the tests, which its workers inherit.
os.environ.setdefault("ZZ_TEST_RUN", f"zz-test-{secrets.token_hex(3)}")

REPOSITORY = Path(__file__).parents[1]
INSTALL = "#!/bin/sh\nset -eu\ncommand -v hello\n"


def pytest_configure() -> None:
    """Have interrupts taken as usual where these tests run in the background, which passes on to all programs
    they start that interrupts are ignored.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


# Whoever makes the base image of all tests begins; the others have unit tests to run meanwhile. Then come
# files that take minutes, the longest first, so that none is left for one worker alone at the end.
_FIRST = "test_build_first.py"
_LONG = (
    "test_vm_base.py",
    "test_guest_ends.py",
    "test_guest.py",
    "test_locks.py",
    "test_rehearsal.py",
    "test_language.py",
    "test_sif.py",
    "test_canaries.py",
    "test_bases.py",
    "test_upstream_bases.py",
    "test_faults.py",
    "test_offline.py",
    "test_changes.py",
    "test_unpinned.py",
    "test_definition.py",
    "test_contract.py",
    "test_places.py",
    "test_wrappers.py",
    "test_reproducible.py",
    "test_day.py",
    "test_glance.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order whole files by how long they take, and leave the tests within each as they are."""

    def place(item: pytest.Item) -> tuple[int, int]:
        name = item.path.name
        if name == _FIRST:
            return 0, 0
        if item.path.parent.name == "unit":
            return 1, 0
        return (2, _LONG.index(name)) if name in _LONG else (3, 0)

    items.sort(key=place)


def copy_base_image(root: Path) -> None:
    """Give a checkout one base image, and no lock: what that says changes with the archives."""
    (root / "base_images").mkdir(parents=True)
    shutil.copy(REPOSITORY / "base_images" / "debian-12.yaml", root / "base_images")


@pytest.fixture
def workspace(tmp_path: Path) -> Callable[..., Workspace]:
    """A maker of one checkout: each call adds a recipe, given as its text or as a folder to copy."""
    root = tmp_path / "checkout"
    copy_base_image(root)
    (root / "recipes").mkdir()

    def add(recipe: str | Path | None = None, name: str = "app") -> Workspace:
        folder = root / "recipes" / name
        if isinstance(recipe, Path):
            shutil.copytree(recipe, folder, symlinks=True)
        elif recipe is not None:
            folder.mkdir()
            (folder / "recipe.yaml").write_text(recipe, encoding="utf-8")
            (folder / "install.sh").write_text(INSTALL)
        return Workspace(root)

    return add
