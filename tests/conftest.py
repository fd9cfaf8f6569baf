"""Shared by all tests: small checkouts with this repository's base images and the recipes of a test."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from imagefactory.workspace import Workspace

REPOSITORY = Path(__file__).parents[1]
INSTALL = "#!/bin/sh\nset -eu\ncommand -v hello\n"


def copy_base_images(root: Path) -> None:
    """Give a checkout this repository's base images, and no lock: what it says changes with the archives."""
    shutil.copytree(
        REPOSITORY / "base_images", root / "base_images", ignore=shutil.ignore_patterns("*.lock.yaml")
    )


@pytest.fixture
def workspace(tmp_path: Path) -> Callable[..., Workspace]:
    """A maker of one checkout: each call adds a recipe, given as its text or as a folder to copy."""
    root = tmp_path / "checkout"
    copy_base_images(root)
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
