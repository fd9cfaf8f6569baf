"""What the store holds, and what of it this checkout still needs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from imagefactory.definitions.bases import base_names, host_platform
from imagefactory.definitions.recipes import load_images, recipe_names
from imagefactory.errors import BadFiles
from imagefactory.locks import base_lock_file, lock_file, read_locks
from imagefactory.model.spec import ImageDefinition
from imagefactory.system.site import load_site
from imagefactory.system.store import Store, Stored
from imagefactory.system.workspace import Workspace

_FORGOTTEN = 7 * 86400.0  # seconds after which nobody carries a download on


@dataclass(frozen=True, slots=True)
class Stock:
    """Every stored file with its name and what uses it; both empty for what no lock here names."""

    folder: Path
    files: tuple[tuple[Stored, str, tuple[str, ...]], ...]


def stock(workspace: Workspace) -> Stock:
    """The store, as this checkout sees it."""
    store = Store(load_site(workspace).store)
    users = _users(workspace)
    files = tuple((f, *users.get(f.sha256, ("", ()))) for f in store.files())
    return Stock(store.folder, files)


def verify_store(workspace: Workspace) -> tuple[int, list[Stored]]:
    """Remove damaged files that are ours to remove; how many files there were, and which were damaged."""
    store = Store(load_site(workspace).store)
    damaged = list(store.damaged())
    count = sum(1 for _ in store.files())
    for stored in damaged:
        if stored.removable:
            store.remove(stored)
    return count, damaged


def prune_store(workspace: Workspace, before: float) -> list[Stored]:
    """Remove what is ours, was last used before that time (seconds since 1970), and no lock here names."""
    store = Store(load_site(workspace).store)
    users = _users(workspace)
    ours = (stored for stored in store.files() if stored.removable)
    old = [stored for stored in ours if stored.used <= before and stored.sha256 not in users]
    for stored in old:
        store.remove(stored)
    store.drop_partial(_FORGOTTEN)
    return old


def _users(workspace: Workspace) -> dict[str, tuple[str, tuple[str, ...]]]:
    """By sha256: the input's name and version, and the images (and base images) that it is for."""
    uses: dict[str, tuple[str, tuple[str, ...]]] = {}
    places = [lock_file(workspace, name) for name in recipe_names(workspace)]
    places += [base_lock_file(workspace, name) for name in base_names(workspace)]
    for place in places:
        for image, lock in read_locks(workspace, place, host_platform()).items():
            for _, file in lock.files():
                _, users = uses.get(file.sha256, ("", ()))
                uses[file.sha256] = (f"{file.name} {file.version}", (*users, image))
    for name in recipe_names(workspace):
        for each in _readable(workspace, name):
            for data, read in each.test_data.items():
                _, users = uses.get(read.sha256, ("", ()))
                uses[read.sha256] = (f"test data {data}", (*users, each.id))
    return uses


def _readable(workspace: Workspace, recipe: str) -> list[ImageDefinition]:
    """The images of a recipe; none of one that has become bad."""
    try:
        return load_images(workspace, [recipe])
    except BadFiles:
        return []
