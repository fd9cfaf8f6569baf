"""The reader of finished disks, on small ones that are made here: no machine boots."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from imagefactory.errors import BuildFailed, Interrupted
from imagefactory.guest import copy_raw, open_disk
from imagefactory.system.processes import Stop

OFFSET = 2048 * 512
ODD = "odd\n/0/1\x1b[31m\n\ndebugfs: ls -p <2>\n".replace("/", "-")
LONG = "to/" + "very-" * 30 + "far"
SECRET = b"-----BEGIN SOMETHING THAT WAS DELETED-----\n" * 200


def debugfs(raw: Path, *commands: str) -> None:
    for command in commands:
        words = ["debugfs", "-w", "-R", command, f"{raw}?offset={OFFSET}"]
        subprocess.run(words, check=True, capture_output=True)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    (tree / "a" / "b" / "c").mkdir(parents=True)
    (tree / "a" / "b" / "c" / "deep").write_bytes(b"deep\0\n")
    (tree / "a" / ODD).write_text("odd")
    Path(os.fsdecode(os.fsencode(tree) + b"/a/latin-\xe9")).write_text("latin")
    (tree / "many").mkdir()
    for number in range(700):
        (tree / "many" / f"file {number}").write_text(str(number))
    (tree / "short").symlink_to("a/b")
    (tree / "long").symlink_to(LONG)
    (tree / "empty").touch()
    (tree / "tool").write_text("#!/bin/sh\n")
    (tree / "tool").chmod(0o4711)
    (tree / "deleted").write_bytes(SECRET)
    raw = tmp_path / "disk"
    with raw.open("wb") as out:
        out.truncate(32 << 20)
    table = "label: gpt\n1: start=2048, size=49152, type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709, name=root\n"
    table += "15: size=8192\n"
    subprocess.run(["sfdisk", "--quiet", raw], input=table, text=True, check=True)
    words: list[str | Path] = [
        "mke2fs",
        "-q",
        "-F",
        "-t",
        "ext4",
        "-d",
        tree,
        "-E",
        f"offset={OFFSET},root_owner=0:0",
        raw,
        "24m",
    ]
    subprocess.run(words, check=True)
    shutil.rmtree(tree)
    debugfs(raw, "rm /deleted", "sif /empty uid 70000", "sif /empty gid 12")
    raw.chmod(0o444)
    return raw


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    (tmp_path / "scratch").mkdir()
    return tmp_path / "scratch"


def as_qcow2(raw: Path, *more: str) -> Path:
    disk = raw.with_suffix(".qcow2")
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", *more, raw, disk], check=True)
    return disk


@pytest.mark.parametrize("form", ["raw", "qcow2", "private"])
def test_a_disk_is_read(raw: Path, scratch: Path, form: str) -> None:
    disk = as_qcow2(raw, "-c") if form == "qcow2" else raw
    if form == "private":
        disk.chmod(0o600)
    before = hashlib.sha256(disk.read_bytes()).digest()
    with open_disk(disk, scratch, Stop()) as reader:
        assert reader.facts.format == ("qcow2" if form == "qcow2" else "raw")
        assert reader.facts.virtual_size == 32 << 20
        assert (reader.facts.allocated < 1 << 20) or form != "qcow2"
        assert [(each.number, each.start, each.name) for each in reader.partitions] == [
            (1, OFFSET, "root"),
            (15, OFFSET + (24 << 20), ""),
        ]
        assert reader.root.number == 1
        assert reader.exists("/a/b/c/deep")
        assert not reader.exists("/deleted")
        assert len(reader.glob("/many/*")) == 700
        paths = ["/a/b/c/deep", f"/a/{ODD}", "/a/latin-\udce9", "/empty", "/many/file 699"]
        assert list(reader.read_all(paths).values()) == [b"deep\0\n", b"odd", b"latin", b"", b"699"]
        assert reader.links(["/short", "/long"]) == {"/short": "a/b", "/long": LONG}
        assert reader.entries["/tool"].mode == 0o104711
        assert (reader.entries["/empty"].uid, reader.entries["/empty"].gid) == (70000, 12)
        # What was deleted is still there.
        assert reader.space.dirty * reader.space.block >= len(SECRET)
        assert reader.space.dirty < reader.space.free < reader.space.blocks
        assert reader.space.clean
        for path in ("/a", "/none", "/long", "a/b/c/deep"):
            with pytest.raises(BuildFailed, match="is no file in it"):
                reader.read(path)
        with pytest.raises(BuildFailed, match="too many to read"):
            reader.read("/a/b/c/deep", limit=5)
        with pytest.raises(BuildFailed, match="is no symbolic link"):
            reader.links(["/empty"])
    assert hashlib.sha256(disk.read_bytes()).digest() == before
    assert not list(scratch.iterdir())


def test_a_disk_is_copied_uncompressed_and_sparse(raw: Path, scratch: Path) -> None:
    copy = copy_raw(as_qcow2(raw, "-c"), scratch, Stop())
    assert copy.read_bytes() == raw.read_bytes()
    assert copy.stat().st_blocks * 512 < copy.stat().st_size


def test_free_space_that_was_trimmed_is_known(raw: Path, scratch: Path) -> None:
    raw.chmod(0o644)
    with open_disk(raw, scratch, Stop()) as reader:
        dirty = reader.space.dirty
    data = bytearray(raw.read_bytes())
    while (at := data.find(SECRET[:43])) >= 0:
        data[at : at + 43] = bytes(43)
    raw.write_bytes(data)
    with open_disk(raw, scratch, Stop()) as reader:
        assert reader.space.dirty < dirty


def test_disks_that_are_none_are_told(raw: Path, scratch: Path, tmp_path: Path) -> None:
    disk = as_qcow2(raw)
    raw.chmod(0o644)
    with pytest.raises(BuildFailed, match="can't be read"), open_disk(tmp_path / "no", scratch, Stop()):
        pass
    with pytest.raises(BuildFailed, match="Is a directory"), open_disk(scratch, scratch, Stop()):
        pass
    with (
        open_disk(raw, scratch, Stop(), partition=15) as reader,
        pytest.raises(BuildFailed, match="can't be read"),
    ):
        reader.exists("/")
    with open_disk(raw, scratch, Stop(), partition=7) as reader, pytest.raises(BuildFailed, match="number 7"):
        reader.exists("/")
    (tmp_path / "plain").write_bytes(bytes(1 << 20))
    (tmp_path / "plain").chmod(0o644)
    with open_disk(tmp_path / "plain", scratch, Stop()) as reader, pytest.raises(BuildFailed):
        reader.exists("/")
    cut = tmp_path / "cut.qcow2"
    cut.write_bytes(disk.read_bytes()[: disk.stat().st_size // 2])
    with pytest.raises(BuildFailed, match="can't be read"), open_disk(cut, scratch, Stop()):
        pass
    debugfs(raw, "ln /a /a/b/c/up")
    with open_disk(raw, scratch, Stop()) as reader, pytest.raises(BuildFailed, match="in two places"):
        reader.exists("/")
    assert not list(scratch.iterdir())


def test_a_disk_of_parts_reads_nothing_else(raw: Path, scratch: Path, tmp_path: Path) -> None:
    """A qcow2 file can name any file of this machine as what is below it."""
    (tmp_path / "secret").write_bytes(b"s" * 512)
    disk = tmp_path / "parts.qcow2"
    words = [
        "qemu-img",
        "create",
        "-q",
        "-f",
        "qcow2",
        "-F",
        "raw",
        "-b",
        str(tmp_path / "secret"),
        str(disk),
    ]
    subprocess.run(words, check=True)
    with pytest.raises(BuildFailed, match="names another file"), open_disk(disk, scratch, Stop()):
        pass


def test_a_stop_ends_a_reader(raw: Path, scratch: Path) -> None:
    stop = Stop()
    with open_disk(as_qcow2(raw), scratch, stop) as reader:
        stop.now()
        with pytest.raises(Interrupted):
            reader.exists("/")
    assert not list(scratch.iterdir())
