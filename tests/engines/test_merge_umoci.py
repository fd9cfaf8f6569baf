"""Any layers make the tree that umoci unpacks from them."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import stat
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagefactory.targets.common.archive import OciArchive
from imagefactory.targets.common.merge import write_merged

KINDS = {
    "file": tarfile.REGTYPE,
    "folder": tarfile.DIRTYPE,
    "symlink": tarfile.SYMTYPE,
    "pipe": tarfile.FIFOTYPE,
    "link": tarfile.LNKTYPE,
    "whiteout": tarfile.REGTYPE,
    "opaque": tarfile.REGTYPE,
}
MODES = [0o644, 0o755, 0o700, 0o4755, 0o1777]
DESTINATIONS = ["a", "../b", "/a/b", "nowhere"]
Layer = list[tuple[tarfile.TarInfo, bytes]]


class Node(NamedTuple):
    """What is at a path. All names of a file that has several are in each of its nodes."""

    kind: str
    mode: int
    time: int
    holds: str
    names: tuple[str, ...] = ()


class Change(NamedTuple):
    kind: str
    path: str
    mode: int
    time: int
    pick: int


CHANGES = st.builds(
    Change,
    st.sampled_from([*KINDS, "file", "file", "folder", "link", "link", "link"]),
    st.lists(st.sampled_from("ab"), min_size=1, max_size=3).map("/".join),
    st.sampled_from(MODES),
    st.integers(1, 2**31),
    st.integers(0, 20),
)
STACKS = st.lists(st.lists(CHANGES, min_size=4, max_size=12), min_size=2, max_size=4)


def parents(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:n]) for n in range(1, len(parts))]


def below(path: str, folder: str) -> bool:
    return not folder or path.startswith(f"{folder}/")


class Stack:
    """Layers of those changes that are legal after the ones before them. The tree is followed just as far as
    that takes: what is expected, umoci says.
    """

    def __init__(self, drawn: list[list[Change]]) -> None:
        self.tree: dict[str, str] = {}  # kinds
        self.untimed: set[str] = set()  # folders whose time umoci leaves to the clock
        self.layers: list[Layer] = []
        for changes in drawn:
            self.here: set[str] = set()  # paths of this layer, without those in whiteouts
            self.entries: dict[str, tuple[tarfile.TarInfo, bytes]] = {}
            self.below: set[str] = set()  # files of lower layers that this one has hard links to
            for change in changes:
                self.add(change)
            self.layers.append(list(self.entries.values()))

    def add(self, change: Change) -> None:
        if change.kind in ("whiteout", "opaque"):
            self.remove(change)
        elif self.may_stand(change):
            self.place(change)

    def remove(self, change: Change) -> None:
        opaque = change.kind == "opaque"
        folders = ["", *sorted(path for path, kind in self.tree.items() if kind == "folder")]
        path = folders[change.pick % len(folders)] if opaque else change.path
        folder, _, name = path.rpartition("/")
        folder, name = (path, ".wh..wh..opq") if opaque else (folder, f".wh.{name}")
        if folder and self.tree.get(folder) != "folder":
            return
        # umoci keeps a lower folder if entries below it, of a layer that doesn't list the folder, come before
        # its whiteout. By the specification, the order within a layer says nothing.
        unlisted = {parent for path in self.here for parent in parents(path)} - self.here
        if any(below(p, path) or (p == path and not opaque) for p in unlisted):
            return
        if not self.enter(f"{folder}/{name}".lstrip("/"), change):
            return
        gone = {p for p in self.tree if below(p, path) or (p == path and not opaque)}
        self.untimed |= gone & self.here
        for p in gone - self.here:
            del self.tree[p]

    def may_stand(self, change: Change) -> bool:
        path, is_folder = change.path, change.kind == "folder"
        # umoci can't make a folder in a file's place for an entry below, and goes where a symlink leads.
        if any(self.tree.get(parent, "folder") != "folder" for parent in parents(path)):
            return False
        if not is_folder and any(below(p, path) for p in self.here):
            return False
        # Whether such an archive is valid is not said: a link to a lower file, and then another file there.
        if path in self.here or path in self.below:
            return False
        return change.kind != "link" or bool(self.targets(path))

    def targets(self, path: str) -> list[str]:
        """What a hard link at that path may be to."""
        found = (p for p, kind in self.tree.items() if kind != "folder" and p != path and not below(p, path))
        return sorted(found)

    def place(self, change: Change) -> None:
        path, kind, to = change.path, change.kind, DESTINATIONS[change.pick % len(DESTINATIONS)]
        if kind == "link":
            targets = self.targets(path)
            to = targets[change.pick % len(targets)]
            kind = self.tree[to]
            if to not in self.here:
                self.below.add(to)
        self.enter(path, change, to)
        if not kind == self.tree.get(path) == "folder":
            self.tree = {p: k for p, k in self.tree.items() if p != path and not below(p, path)}
        for parent in set(parents(path)) - set(self.tree):
            self.untimed |= {parent, *parents(parent)}
            self.tree[parent] = "folder"
        self.tree[path] = kind
        self.here.add(path)

    def enter(self, name: str, change: Change, to: str = "") -> bool:
        if name in self.entries:
            return False
        info = tarfile.TarInfo(name)
        info.type, info.mode, info.mtime = KINDS[change.kind], change.mode, change.time
        data = f"{len(self.layers)} {name}".encode() if change.kind == "file" else b""
        info.size, info.linkname = len(data), to if change.kind in ("symlink", "link") else ""
        self.entries[name] = info, data
        return True


def tar(entries: Layer) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for info, data in entries:
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def layout(layers: list[Layer]) -> dict[str, bytes]:
    """The files of an OCI image layout."""
    files = {"oci-layout": b'{"imageLayoutVersion": "1.0.0"}'}

    def keep(kind: str, data: bytes, **more: Any) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        files[f"blobs/sha256/{digest}"] = data
        return {
            "mediaType": f"application/vnd.oci.image.{kind}",
            "digest": f"sha256:{digest}",
            "size": len(data),
            **more,
        }

    trees = [tar(layer) for layer in layers]
    rootfs = {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(tree).hexdigest()}" for tree in trees]}
    config = {"architecture": "amd64", "os": "linux", "config": {}, "rootfs": rootfs}
    manifest = {
        "schemaVersion": 2,
        "config": keep("config.v1+json", json.dumps(config).encode()),
        "layers": [keep("layer.v1.tar+gzip", gzip.compress(tree, 1, mtime=0)) for tree in trees],
    }
    name = {"org.opencontainers.image.ref.name": "latest"}
    image = keep("manifest.v1+json", json.dumps(manifest).encode(), annotations=name)
    files["index.json"] = json.dumps({"schemaVersion": 2, "manifests": [image]}).encode()
    return files


def merged(files: dict[str, bytes], scratch: Path) -> dict[str, Node]:
    """The tree that we make of an image."""
    image = io.BytesIO(tar([(member(name, data), data) for name, data in files.items()]))
    out = io.BytesIO()
    with OciArchive(image) as archive:
        write_merged(archive, out, (), lambda path: False, scratch)
    out.seek(0)
    found: dict[str, Node] = {}
    first: dict[str, str] = {}
    with tarfile.open(fileobj=out) as tree:
        for info in tree:
            path = info.name
            assert path not in found, f"{path} is there twice"
            first[path] = first[info.linkname] if info.islnk() else path
            found[path] = found[first[path]] if info.islnk() else node(tree, info)
    return with_names(found, first)


def member(name: str, data: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    return info


def node(tree: tarfile.TarFile, info: tarfile.TarInfo) -> Node:
    kind = next(kind for kind, letter in KINDS.items() if letter == info.type)
    content = tree.extractfile(info) if info.isfile() else None
    holds = content.read().decode() if content else info.linkname
    return Node(kind, 0 if info.issym() else info.mode, int(info.mtime), holds)


def unpacked(files: dict[str, bytes], scratch: Path) -> dict[str, Node]:
    """The tree that umoci makes of an image."""
    image, root = scratch / "image", scratch / "root"
    for name, data in files.items():
        (image / name).parent.mkdir(parents=True, exist_ok=True)
        (image / name).write_bytes(data)
    rootless = ["--rootless"] if os.geteuid() else []
    words = ["umoci", "raw", "unpack", *rootless, "--image", f"{image}:latest", str(root)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, umask=0o022)
    assert done.returncode == 0, done.stderr
    found: dict[str, Node] = {}
    inodes: dict[str, int] = {}
    for file in root.rglob("*"):
        path, about = str(file.relative_to(root)), file.lstat()
        found[path] = node_on_disk(file, about)
        inodes[path] = about.st_ino
    return with_names(found, inodes)


def node_on_disk(file: Path, about: os.stat_result) -> Node:
    time, mode = int(about.st_mtime), stat.S_IMODE(about.st_mode)
    if stat.S_ISLNK(about.st_mode):
        return Node("symlink", 0, time, str(file.readlink()))
    if stat.S_ISDIR(about.st_mode):
        return Node("folder", mode, time, "")
    if stat.S_ISFIFO(about.st_mode):
        return Node("pipe", mode, time, "")
    return Node("file", mode, time, file.read_text())


def with_names(found: dict[str, Node], files: Mapping[str, object]) -> dict[str, Node]:
    """Each node with all paths that are the same file."""
    names: dict[object, list[str]] = {}
    for path in sorted(found):
        names.setdefault(files[path], []).append(path)
    return {path: found[path]._replace(names=tuple(names[files[path]])) for path in sorted(found)}


@pytest.fixture(scope="module")
def umoci() -> None:
    """Skip, or in a CI fail, without it."""
    missing = "umoci is not installed: run ci/setup tests"
    if shutil.which("umoci") is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(missing)


@settings(max_examples=100, derandomize=True, deadline=None)
@given(drawn=STACKS)
def test_layers_make_the_tree_that_umoci_unpacks(umoci: None, drawn: list[list[Change]]) -> None:
    stack = Stack(drawn)
    files = layout(stack.layers)
    with TemporaryDirectory() as scratch:
        ours, theirs = merged(files, Path(scratch)), unpacked(files, Path(scratch))
    for tree in (ours, theirs):
        tree |= {path: tree[path]._replace(time=0) for path in stack.untimed & set(tree)}
    assert ours == theirs
