"""A checkout with many small recipes, each locked: what commands that read all of them are measured on."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

from imagefactory.definitions.bases import host_platform, load_base
from imagefactory.definitions.recipes import load_images, new_recipe
from imagefactory.locks import base_lock_file, image_request, lock_file, read_locks, write_locks
from imagefactory.model.lock import AptFile, Lock, StageLock
from imagefactory.system.site import Site
from imagefactory.system.workspace import Workspace

BASE = "debian-12"


def many_recipes(root: Path, bases: Path, count: int) -> Workspace:
    """``count`` recipes of one apt package each, committed to git, on the base images in ``bases``."""
    (root / "recipes").mkdir(parents=True)
    shutil.copytree(bases, root / "base_images")
    workspace = Workspace(root)
    _git(root, "init", "--quiet")
    base = load_base(workspace, BASE)
    platform = host_platform()
    base_lock = read_locks(workspace, base_lock_file(workspace, BASE), platform)[BASE]
    sha256 = hashlib.sha256(b"hello").hexdigest()
    package = AptFile(
        name="hello",
        version="2.10-3",
        archive="debian",
        file="pool/main/h/hello/hello_2.10-3_amd64.deb",
        bytes=53_000,
        sha256=sha256,
    )
    first = "app-0"
    new_recipe(workspace, first)
    (image,) = load_images(workspace, [first])
    request = image_request(image, base, base_lock, Site())
    lock = Lock(request=request, image=StageLock(apt=(package,)))
    write_locks(lock_file(workspace, first), {first: lock}, platform)
    for number in range(1, count):
        _copy(workspace.recipes / first, workspace.recipes / f"app-{number}", first, f"app-{number}")
    _git(root, "add", ".")
    _git(
        root, "-c", "user.name=bench", "-c", "user.email=bench@example.org", "commit", "--quiet", "-m", "all"
    )
    return workspace


def _copy(source: Path, target: Path, old: str, new: str) -> None:
    for file in source.rglob("*"):
        if file.is_file():
            place = target / file.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(file.read_text().replace(old, new))


def _git(root: Path, *words: str) -> None:
    subprocess.run(["git", *words], cwd=root, check=True, capture_output=True)
