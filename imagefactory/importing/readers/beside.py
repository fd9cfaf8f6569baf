"""Files beside a foreign recipe: none from outside its folder, none too large."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

MAX_BYTES = 16 << 20
_MOST_FILES = 500
_MOST_LEVELS = 3


class Unavailable(Exception):
    """A file can't be had: why."""


def read_beside(folder: Path, name: str) -> tuple[bytes, bool]:
    """The bytes of a file in ``folder``, and whether it can be run. Raises Unavailable."""
    path = folder / name
    try:
        real = path.resolve(strict=True)
        if not real.is_relative_to(folder.resolve()):
            raise Unavailable("it is outside the folder of the recipe")
        if not real.is_file():
            raise Unavailable("it is not there" if not real.exists() else "it is no regular file")
        if real.stat().st_size > MAX_BYTES:
            raise Unavailable(f"it is larger than {MAX_BYTES >> 20} MiB: declare it as a source")
        return real.read_bytes(), bool(real.stat().st_mode & 0o100)
    except (OSError, ValueError):
        raise Unavailable("it is not there") from None


def macro_places(folder: Path, name: str) -> Iterator[tuple[Path, str]]:
    """Where a macro may stand: a folder that it must not leave, and its name there.

    Those are the recipe's own folder, and all above it in the repository that it is in. Without one it is
    only what a few folders above have in their ``macros``.
    """
    below = name.removeprefix("macros/")
    yield from ((folder, name), (folder, f"macros/{below}"))
    above = folder.resolve().parents
    top = next((at for at, each in enumerate((folder.resolve(), *above)) if (each / ".git").exists()), None)
    for each in above[: _MOST_LEVELS if top is None else top]:
        if top is not None:
            yield each, name
        if (each / "macros").is_dir():
            yield each / "macros", below


def files_beside(folder: Path, name: str) -> list[str]:
    """The files that a name means: itself, or all below a folder. Raises Unavailable."""
    path = folder / name
    try:
        if not path.resolve().is_relative_to(folder.resolve()):
            raise Unavailable("it is outside the folder of the recipe")
        if not path.is_dir():
            return [name]
        found = sorted(
            str(each.relative_to(folder)) for each in path.rglob("*") if each.is_file() or each.is_symlink()
        )
    except (OSError, ValueError):
        raise Unavailable("it is not there") from None
    found = [each for each in found if not each.startswith(".git/")]
    if sum((folder / each).lstat().st_size for each in found) > MAX_BYTES * 4:
        raise Unavailable("its files are too large together: pack them, and declare a source")
    if len(found) > _MOST_FILES:
        raise Unavailable(f"it holds more than {_MOST_FILES} files: pack them, and declare a source")
    return found
