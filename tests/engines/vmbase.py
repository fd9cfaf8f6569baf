"""VM bases as tests make them: today's packages, the store alone, and nobody's settings."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from filelock import FileLock

from tests.conftest import REPOSITORY
from tests.engines.bench import Bench

NEWEST = "debian-13-vm"
CUT = ("unshare", "--net", "--")


def checkout(root: Path, name: str, lock: Path | None = None) -> Bench:
    """A checkout with one VM base, and all that it is made of in the store."""
    (root / "recipes").mkdir(parents=True)
    (root / "base_images").mkdir()
    for file in (*_files(REPOSITORY, name), lock):
        if file:
            shutil.copy(file, root / "base_images")
    bench = Bench(root)
    if lock is None:
        bench.run("lock", name, timeout=1200)
    bench.run("fetch", name, timeout=1200)
    return bench


def _files(root: Path, name: str) -> list[Path]:
    """Its file, and those of the VM bases that it is like."""
    file = root / "base_images" / f"{name}.yaml"
    like = re.search(r"^like: (\S+)$", file.read_text(), re.MULTILINE)
    return [file, *(_files(root, like[1]) if like else [])]


def make(bench: Bench, name: str) -> Path:
    """Make it where there is no network; returns its disk."""
    bench.as_user = CUT
    bench.run("build", "--locked", name, timeout=1800)
    bench.as_user = ()
    report = bench.report(name, "vmbase")
    assert report["status"] == "passed"
    assert not bench.leftovers()
    disk = bench.build / name / "disk.qcow2"
    assert report["bytes"] == disk.stat().st_size
    return disk


def shared(name: str, folder: Path) -> Bench:
    """The checkout in a ``folder`` of all workers that made it, once for all of them."""
    root = folder / name
    with FileLock(root.with_name(f"{name}.lock")):
        made = root.with_name(f"{name}.made")
        if not made.exists():
            make(checkout(root, name), name)
            made.touch()
    return Bench(root)


def copy_vm_base(origin: Bench, target: Bench, name: str) -> None:
    """Give a checkout the VM base that another has locked and made."""
    for file in (*_files(origin.root, name), origin.root / "base_images" / f"{name}.lock.yaml"):
        shutil.copy(file, target.root / "base_images")
    theirs, ours = origin.build / name, target.build / name
    (ours / "vmbase").mkdir(parents=True)
    os.link(theirs / "disk.qcow2", ours / "disk.qcow2")
    shutil.copy(theirs / "vmbase" / "report.json", ours / "vmbase")


def disk_of(name: str, folder: Path) -> Path:
    """The disk of that VM base; with ZZ_VM_DISKS, a folder, the one in it, which other runs made."""
    before = Path(os.environ.get("ZZ_VM_DISKS", "/nowhere")) / f"{name}.qcow2"
    return before if before.exists() else shared(name, folder).build / name / "disk.qcow2"
