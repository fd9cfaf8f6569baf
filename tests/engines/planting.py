"""Disks of VM bases with more files, without a boot: as a project image would have them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from imagefactory.model.spec import File

_ROOT = 40960 * 512  # where the root file system of a VM base begins


def planted(base: Path, files: Iterable[File], links: Mapping[str, str], folder: Path) -> Path:
    """A raw disk in ``folder``: the base with these files, in folders that are there, and links."""
    raw = folder / "disk.raw"
    subprocess.run(["qemu-img", "convert", "-O", "raw", base, raw], check=True)
    orders = []
    for number, file in enumerate(files):
        source = folder / f"file{number}"
        source.write_bytes(file.data)
        source.chmod(file.mode)
        orders.append(f"write {source} {file.path}")
    orders += [f"symlink {place} {to}" for place, to in links.items()]
    words = ["debugfs", "-w", "-f", "-", f"{raw}?offset={_ROOT}"]
    done = subprocess.run(words, input="\n".join(orders), capture_output=True, text=True, check=True)
    assert "not found" not in done.stderr, done.stderr
    return raw
