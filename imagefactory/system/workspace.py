"""Where things are: the folder that holds recipes, base images and what is built from them."""

from __future__ import annotations

import hashlib
import platform
import tomllib
from dataclasses import dataclass
from pathlib import Path

from imagefactory.errors import BadInput


@dataclass(frozen=True, slots=True)
class Workspace:
    """A checkout with ``recipes/`` and ``base_images/``; everything made goes under ``build/``."""

    root: Path

    @property
    def recipes(self) -> Path:
        return self.root / "recipes"

    @property
    def bases(self) -> Path:
        return self.root / "base_images"

    @property
    def build(self) -> Path:
        return self.root / "build"

    @property
    def source(self) -> str:
        """Where these recipes are published: ``source`` in pyproject.toml's [tool.imagefactory]."""
        try:
            project = tomllib.loads((self.root / "pyproject.toml").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return ""
        except (OSError, ValueError) as error:
            raise BadInput(f"{self.root / 'pyproject.toml'} cannot be read: {error}") from None
        return str(project.get("tool", {}).get("imagefactory", {}).get("source", ""))

    @property
    def key(self) -> str:
        """A short name of this checkout, to tell its containers from another checkout's.

        With the machine's name: two CI jobs in containers may share an engine and a path.
        """
        return hashlib.sha256(f"{platform.node()}:{self.root}".encode()).hexdigest()[:12]

    def shown(self, path: Path) -> str:
        """``path`` as a person standing in the root would write it."""
        return str(path.relative_to(self.root)) if path.is_relative_to(self.root) else str(path)


def find_workspace(start: Path) -> Workspace:
    """The nearest folder at or above ``start`` with ``recipes/``. Raises BadInput if there is none."""
    start = start.resolve()
    for folder in (start, *start.parents):
        if (folder / "recipes").is_dir() and (folder / "base_images").is_dir():
            return Workspace(folder)
    raise BadInput(
        f"no recipes/ and base_images/ in {start} or above it",
        hint="go to your checkout, or name it with --root",
    )
