"""Files beside a foreign recipe: none from outside its folder, none too large."""

from __future__ import annotations

from pathlib import Path

MAX_BYTES = 16 << 20
_MOST_FILES = 500


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
