"""What a new lock changes, in words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from imagefactory.model.lock import HeldPackage, Lock, LockedFile, SourceFile


@dataclass(frozen=True, slots=True, order=True)
class Change:
    """One input that is new (``old`` is empty), gone (``new`` is empty), or another version now."""

    name: str
    old: str
    new: str

    def __str__(self) -> str:
        if self.old and self.new:
            return f"{self.name} {self.old} → {self.new}"
        return f"+ {self.name} {self.new}" if self.new else f"- {self.name} {self.old}"


def changes(old: Lock | None, new: Lock) -> list[Change]:
    """Every difference between two locks of one image, each once, by name."""
    before = dict(_versions(old)) if old else {}
    after = dict(_versions(new))
    differences = []
    for key in {*before, *after}:
        if before.get(key) == after.get(key):
            continue
        was, now = _words(before.get(key)), _words(after.get(key))
        if was == now:  # the same version, built or packed anew
            was, now = f"{was} ({_short(before[key])})", f"{now} ({_short(after[key])})"
        differences.append(Change(key[1], was, now))
    return sorted(set(differences))


def _versions(lock: Lock) -> Iterator[tuple[tuple[str, str, int], LockedFile | HeldPackage]]:
    """By kind, name, and number where one name stands there in several versions."""
    seen: dict[tuple[str, str], int] = {}
    for kind, file in lock.with_sources(SourceFile.as_locked).files():
        number = seen[kind, file.name] = seen.get((kind, file.name), -1) + 1
        yield (kind, file.name, number), file
    for package in lock.system.packages if lock.system else ():
        yield ("held", package.name, 0), package


def _words(file: LockedFile | HeldPackage | None) -> str:
    if file is None:
        return ""
    build = getattr(file, "build", "")
    return f"{file.version} {build}" if build else file.version


def _short(file: LockedFile | HeldPackage) -> str:
    assert isinstance(file, LockedFile)
    return f"sha256 {file.sha256[:8]}…"
