"""Layers as one tree: what is on top shows, what is hidden does not, and links keep their files."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import resource
import tarfile
from pathlib import Path
from typing import IO, Any

import pytest

from imagefactory.errors import BuildFailed
from imagefactory.targets.common.archive import OciArchive
from imagefactory.targets.common.merge import write_merged

Layer = list[tarfile.TarInfo | tuple[str, bytes]]


def entry(path: str, kind: bytes = tarfile.DIRTYPE, **changes: Any) -> tarfile.TarInfo:
    found = tarfile.TarInfo(path)
    found.type, found.mode = kind, 0o755
    for name, value in changes.items():
        setattr(found, name, value)
    return found


def link(path: str, to: str) -> tarfile.TarInfo:
    return entry(path, tarfile.LNKTYPE, linkname=to)


def layer_bytes(layer: Layer) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tree:
        for item in layer:
            if isinstance(item, tarfile.TarInfo):
                tree.addfile(item)
            else:
                info = tarfile.TarInfo(item[0])
                info.size, info.mtime = len(item[1]), 1_600_000_000.25
                tree.addfile(info, io.BytesIO(item[1]))
    return gzip.compress(out.getvalue(), mtime=0)


def archive(*layers: Layer, nested: bool = True) -> io.BytesIO:
    """An OCI archive of an image with these layers, from the base up."""
    blobs: dict[str, bytes] = {}

    def keep(data: bytes) -> str:
        digest = hashlib.sha256(data).hexdigest()
        blobs[f"blobs/sha256/{digest}"] = data
        return f"sha256:{digest}"

    config = keep(json.dumps({"architecture": "amd64", "config": {}}).encode())
    manifest = json.dumps(
        {
            "config": {"digest": config},
            "layers": [{"digest": keep(layer_bytes(layer)), "size": 1} for layer in layers],
        }
    ).encode()
    digest = keep(manifest)
    if nested:  # as Docker writes it: an index in the index, with an attestation beside the image
        attested = {"digest": "sha256:none", "annotations": {"kind": "attestation-manifest"}}
        digest = keep(json.dumps({"manifests": [attested, {"digest": digest}]}).encode())
    blobs["index.json"] = json.dumps({"manifests": [{"digest": digest}]}).encode()
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tree:
        for name, data in blobs.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tree.addfile(info, io.BytesIO(data))
    out.seek(0)
    return out


def merged(tmp_path: Path, *layers: Layer, skip: tuple[str, ...] = ()) -> dict[str, tarfile.TarInfo | bytes]:
    """Every path of the tree: a file's bytes, or what else it is."""
    out = io.BytesIO()
    with OciArchive(archive(*layers)) as image:
        write_merged(image, out, (), lambda path: path in skip, tmp_path)
    out.seek(0)
    found: dict[str, tarfile.TarInfo | bytes] = {}
    with tarfile.open(fileobj=out) as tree:
        names = tree.getnames()
        assert len(names) == len(set(names)), "a path is there twice"
        for member in tree:
            data: IO[bytes] | None = tree.extractfile(member) if member.isfile() or member.islnk() else None
            found[member.name] = data.read() if data else member
    return found


def test_what_is_on_top_shows(tmp_path: Path) -> None:
    lower: Layer = [entry("etc", mode=0o700), ("etc/one", b"lower"), ("etc/two", b"lower")]
    upper: Layer = [entry("etc", mode=0o711, uid=7), ("./etc/one", b"upper")]
    found = merged(tmp_path, lower, upper)
    assert (found["etc/one"], found["etc/two"]) == (b"upper", b"lower")
    etc = found["etc"]
    assert isinstance(etc, tarfile.TarInfo)
    assert (etc.mode, etc.uid) == (0o711, 7)


def test_what_is_deleted_is_gone(tmp_path: Path) -> None:
    lower: Layer = [("a/b/c", b"1"), ("a/b2", b"2"), ("d/e", b"3"), ("f", b"4")]
    upper: Layer = [("a/.wh.b", b""), ("d/.wh..wh..opq", b""), ("d/new", b"5"), (".wh.f", b"")]
    found = merged(tmp_path, lower, upper)
    assert {path for path, what in found.items() if isinstance(what, bytes)} == {"a/b2", "d/new"}
    assert not any(".wh." in path for path in found)
    assert merged(tmp_path, lower, [(".wh..wh..opq", b""), ("new", b"5")]) == {"new": b"5"}


def test_what_is_deleted_may_come_back(tmp_path: Path) -> None:
    found = merged(tmp_path, [("a/x", b"old")], [(".wh.a", b"")], [("a/y", b"new")])
    assert "a/x" not in found
    assert found["a/y"] == b"new"


def test_a_file_in_the_place_of_a_folder_hides_it(tmp_path: Path) -> None:
    found = merged(tmp_path, [("bin/sh", b"x")], [entry("bin", tarfile.SYMTYPE, linkname="usr/bin")])
    assert "bin/sh" not in found
    bin_ = found["bin"]
    assert isinstance(bin_, tarfile.TarInfo)
    assert bin_.linkname == "usr/bin"


def test_a_folder_in_the_place_of_a_file_shows(tmp_path: Path) -> None:
    found = merged(tmp_path, [("a", b"file")], [entry("a"), ("a/b", b"new")])
    assert isinstance(found["a"], tarfile.TarInfo)
    assert found["a"].isdir()
    assert found["a/b"] == b"new"


@pytest.mark.parametrize(
    "between", [entry("a", tarfile.SYMTYPE, linkname="usr"), ("a", b"file"), link("a", "b")]
)
def test_what_something_else_hid_stays_hidden(
    tmp_path: Path, between: tarfile.TarInfo | tuple[str, bytes]
) -> None:
    """A folder, replaced by something else, replaced by a folder: engines write no whiteout for that."""
    layers: list[Layer] = [
        [entry("a"), ("a/deleted", b"old"), ("b", b"data")],
        [between],
        [entry("a"), ("a/new", b"new")],
    ]
    found = merged(tmp_path, *layers)
    assert set(found) == {"a", "a/new", "b"}


@pytest.mark.parametrize(("time", "kept"), [(-86_400, 0), (99_999_999_999, 2**32 - 1), (12, 12)])
def test_times_are_those_that_a_file_system_can_hold(tmp_path: Path, time: int, kept: int) -> None:
    folder = merged(tmp_path, [entry("a", mtime=time)])["a"]
    assert isinstance(folder, tarfile.TarInfo)
    assert folder.mtime == kept


def test_hard_links_stay_links(tmp_path: Path) -> None:
    out = io.BytesIO()
    with OciArchive(archive([("a", b"data"), link("b", "a"), link("./c", "./a")])) as image:
        write_merged(image, out, (), lambda path: False, tmp_path)
    out.seek(0)
    with tarfile.open(fileobj=out) as tree:
        assert [(m.name, m.linkname) for m in tree if m.islnk()] == [("b", "a"), ("c", "a")]


def test_a_link_keeps_the_file_whose_other_name_is_hidden(tmp_path: Path) -> None:
    lower: Layer = [("a", b"data"), link("b", "a"), link("c", "a")]
    found = merged(tmp_path, lower, [("a", b"other")])
    assert (found["a"], found["b"], found["c"]) == (b"other", b"data", b"data")
    assert merged(tmp_path, lower, [(".wh.a", b"")]) == {"b": b"data", "c": b"data"}


def test_a_link_may_be_to_a_file_of_a_lower_layer(tmp_path: Path) -> None:
    assert merged(tmp_path, [("a", b"data")], [link("b", "a")]) == {"a": b"data", "b": b"data"}


@pytest.mark.parametrize("lower", [[("b", b"old")], [("b/c", b"old")], [entry("b"), ("b/c/d", b"old")]])
def test_a_link_to_a_lower_layer_hides_what_stood_in_its_place(tmp_path: Path, lower: Layer) -> None:
    assert merged(tmp_path, [*lower, ("a", b"data")], [link("b", "a")]) == {"a": b"data", "b": b"data"}


def test_links_go_down_through_the_layers(tmp_path: Path) -> None:
    layers: list[Layer] = [[("a", b"data")], [link("b", "a")], [link("c", "b"), link("d", "c")]]
    assert merged(tmp_path, *layers) == dict.fromkeys("abcd", b"data")
    assert merged(tmp_path, *layers, [(".wh.a", b""), (".wh.b", b"")]) == dict.fromkeys("cd", b"data")


def test_a_link_keeps_the_lower_file_that_is_hidden_later(tmp_path: Path) -> None:
    layers: list[Layer] = [[("a", b"data")], [link("b", "a")]]
    assert merged(tmp_path, *layers, [(".wh.a", b"")]) == {"b": b"data"}
    assert merged(tmp_path, *layers, [("a", b"other")]) == {"a": b"other", "b": b"data"}
    assert merged(tmp_path, layers[0], [link("b", "a"), (".wh.a", b"")]) == {"b": b"data"}
    assert merged(tmp_path, *layers, [link("c", "a")]) == dict.fromkeys("abc", b"data")


def test_a_link_takes_the_file_from_the_highest_layer_below(tmp_path: Path) -> None:
    found = merged(tmp_path, [("a", b"oldest")], [("a", b"data")], [link("b", "a")], [("a", b"newest")])
    assert found == {"a": b"newest", "b": b"data"}


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.FIFOTYPE])
def test_a_link_may_be_to_something_else_than_a_file(tmp_path: Path, kind: bytes) -> None:
    lower: Layer = [entry("a", kind, linkname="to"), link("b", "a")]
    out = io.BytesIO()
    with OciArchive(archive(lower, [(".wh.a", b"")])) as image:
        write_merged(image, out, (), lambda path: False, tmp_path)
    out.seek(0)
    with tarfile.open(fileobj=out) as tree:
        assert [(m.name, m.type) for m in tree] == [("b", kind)]


def test_a_link_to_nothing_is_refused(tmp_path: Path) -> None:
    """Better no image than one with another file's bytes."""
    layers: list[Layer] = [[(".wh.d", b"")], [("d", b"")], [entry("d/a")], [("d/.wh..wh..opq", b"")]]
    for between in layers:
        with pytest.raises(BuildFailed, match="hard link, b, to nothing: d/a"):
            merged(tmp_path, [("d/a", b"data")], between, [link("b", "d/a")])
    with pytest.raises(BuildFailed, match="hard link, b, to nothing: a"):
        merged(tmp_path, [("c", b"data")], [link("b", "a")])


def test_a_link_keeps_a_file_whatever_becomes_of_other_links(tmp_path: Path) -> None:
    chain: Layer = [("a", b"data"), link("b", "a"), link("c", "b")]
    assert merged(tmp_path, chain, [("b", b"other")])["c"] == b"data"
    assert merged(tmp_path, chain, [("a", b"other"), (".wh.b", b"")])["c"] == b"data"


@pytest.mark.parametrize("lower", [("a", b"old"), entry("a", tarfile.SYMTYPE, linkname="to")])
def test_a_folder_that_its_layer_does_not_list_hides_what_is_none(
    tmp_path: Path, lower: tarfile.TarInfo | tuple[str, bytes]
) -> None:
    found = merged(tmp_path, [lower], [("a/b", b"new")])
    folder = found.pop("a")
    assert isinstance(folder, tarfile.TarInfo)
    assert folder.isdir()
    assert found == {"a/b": b"new"}


def test_more_files_may_be_hidden_than_can_be_open(tmp_path: Path) -> None:
    """A layer may hide a whole tree."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lower: Layer = [*((f"a/{n}", b"%d" % n) for n in range(200)), link("b", "a/150")]
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard))
    try:
        found = merged(tmp_path, lower, [(".wh.a", b"")])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert found == {"b": b"150"}


def test_folders_that_no_layer_lists_are_made(tmp_path: Path) -> None:
    found = merged(tmp_path, [("opt/app/bin/run", b"x")])
    for path in ("opt", "opt/app", "opt/app/bin"):
        folder = found[path]
        assert isinstance(folder, tarfile.TarInfo)
        assert (folder.isdir(), folder.mode, folder.mtime) == (True, 0o755, 0)


def test_folders_that_no_layer_lists_stay_when_they_are_emptied(tmp_path: Path) -> None:
    upper: Layer = [("a/b/.wh.c", b""), (".wh.d", b""), ("e/.wh..wh..opq", b"")]
    found = merged(tmp_path, [("a", b"old")], [("a/b/c", b"1"), ("d/f", b"2"), ("e/g/h", b"3")], upper)
    assert sorted(found) == ["a", "a/b", "e"]
    assert all(isinstance(what, tarfile.TarInfo) and what.isdir() for what in found.values())


def test_what_is_skipped_is_left_out(tmp_path: Path) -> None:
    assert merged(tmp_path, [("a", b"1"), ("b", b"2")], skip=("a",)) == {"b": b"2"}
    assert merged(tmp_path, [("a/b", b"1"), ("b", b"2")], skip=("a", "a/b")) == {"b": b"2"}
    assert merged(tmp_path, [("a", b"1"), link("b", "a")], skip=("a",)) == {"b": b"1"}
    assert merged(tmp_path, [("a", b"1")], [link("b", "a")], skip=("a",)) == {"b": b"1"}


def test_capabilities_stay_and_fractions_of_seconds_go(tmp_path: Path) -> None:
    capable = entry("ping", tarfile.REGTYPE, mtime=12.75, uname="somebody")
    capable.pax_headers = {"SCHILY.xattr.security.capability": "\x01\x00\x02", "comment": "of somebody"}
    out = io.BytesIO()
    with OciArchive(archive([capable])) as image:
        write_merged(image, out, (), lambda path: False, tmp_path)
    out.seek(0)
    with tarfile.open(fileobj=out) as tree:
        (member,) = tree
    assert member.pax_headers == {"SCHILY.xattr.security.capability": "\x01\x00\x02"}
    assert (member.mtime, member.uname) == (12, "")


@pytest.mark.parametrize("nested", [True, False])
def test_the_image_is_found_in_the_archive(nested: bool) -> None:
    with OciArchive(archive([("a", b"1")], [("b", b"2")], nested=nested)) as image:
        assert len(image.layers) == 2
        assert not image.is_image("sha256:none")
        assert image.config["architecture"] == "amd64"


def test_what_is_hidden_is_not_asked_about(tmp_path: Path) -> None:
    asked: list[str] = []

    def skip(path: str) -> bool:
        asked.append(path)
        return False

    with OciArchive(archive([entry("a"), ("a/b", b"1"), ("c", b"2")], [(".wh.a", b"")])) as image:
        write_merged(image, io.BytesIO(), (), skip, tmp_path)
    assert asked == ["c"]
