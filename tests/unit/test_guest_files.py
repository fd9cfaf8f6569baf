"""What disks' files say of themselves, and what comes out of machines: not believed."""

from __future__ import annotations

import io
import json
import struct
import tarfile
from pathlib import Path

import pytest

from imagefactory.errors import BadInput, BuildFailed
from imagefactory.guest.facts import disk_facts
from imagefactory.guest.files import pack, unpack
from imagefactory.guest.listing import entries, pieces, root_of, table


def qcow2(*, version: int = 3, backing: int = 0, features: int = 0, size: int = 1 << 30) -> bytes:
    head = struct.pack(">4sIQIIQ", b"QFI\xfb", version, backing, 5, 16, size)
    return head.ljust(72, b"\0") + struct.pack(">Q", features) + bytes(432)


def facts_of(tmp_path: Path, data: bytes) -> tuple[str, int]:
    disk = tmp_path / "disk"
    disk.write_bytes(data)
    with disk.open("rb") as file:
        found = disk_facts(disk, file)
    return found.format, found.virtual_size


def test_a_disks_header_is_read(tmp_path: Path) -> None:
    assert facts_of(tmp_path, qcow2(size=5 << 30)) == ("qcow2", 5 << 30)
    assert facts_of(tmp_path, qcow2(version=2, features=4)) == ("qcow2", 1 << 30)
    assert facts_of(tmp_path, bytes(1024)) == ("raw", 1024)


@pytest.mark.parametrize(
    "data",
    [qcow2(backing=104), qcow2(features=4), qcow2()[:60], b"", bytes(700)],
    ids=["backing file", "data file", "cut", "empty", "no sectors"],
)
def test_what_is_no_whole_disk_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(BuildFailed):
        facts_of(tmp_path, data)


def archive(*members: tuple[str, bytes, bytes]) -> io.BytesIO:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as out:
        for name, kind, data in members:
            member = tarfile.TarInfo(name)
            member.type, member.size, member.linkname = kind, len(data), "/etc/passwd"
            out.addfile(member, io.BytesIO(data))
    return made


def test_what_comes_out_of_a_machine_stays_in_its_folder(tmp_path: Path) -> None:
    to = tmp_path / "to"
    made = archive(
        ("/out/a", tarfile.REGTYPE, b"a"),
        ("out/link", tarfile.SYMTYPE, b""),
        ("out/hard", tarfile.LNKTYPE, b""),
        ("out/pipe", tarfile.FIFOTYPE, b""),
        ("out/a", tarfile.REGTYPE, b"again"),
    )
    assert unpack(made, to, "it", 1 << 20) == ["out/a", "out/a"]
    assert (to / "out" / "a").read_bytes() == b"again"
    assert sorted(path.name for path in to.rglob("*")) == ["a", "out"]
    with pytest.raises(BuildFailed, match="leads out of it"):
        unpack(archive(("x/../../evil", tarfile.REGTYPE, b"x")), to, "it", 1 << 20)
    with pytest.raises(BuildFailed, match="more than 10 bytes"):
        unpack(archive(("big", tarfile.REGTYPE, b"x" * 11)), to, "it", 10)
    with pytest.raises(BuildFailed, match="damaged"):
        unpack(io.BytesIO(b"no archive" * 100), to, "it", 1 << 20)
    # A link that was made a folder's place by an earlier entry is not followed: none is made.
    assert not (tmp_path / "evil").exists()


def test_what_is_brought_in_arrives(tmp_path: Path) -> None:
    with pack({"sub/file": b"x\0y"}) as write:
        made = io.BytesIO()
        write(made)
    unpack(made, tmp_path / "to", "it", 1 << 20)
    assert (tmp_path / "to" / "sub" / "file").read_bytes() == b"x\0y"
    for name in ("/etc/passwd", "", "."):
        with pytest.raises(BadInput), pack({name: b""}):
            pass
    with pytest.raises(BadInput), pack(tmp_path / "missing"):
        pass


def sfdisk(*partitions: dict[str, object]) -> bytes:
    return json.dumps({"partitiontable": {"sectorsize": 512, "partitions": partitions}}).encode()


ROOT = {"node": "/in/disk1", "start": 40960, "size": 8, "type": "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709"}
OTHER = {"node": "/in/disk15", "start": 2048, "size": 8, "type": "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"}


def test_the_root_is_found() -> None:
    both = table(sfdisk(ROOT, OTHER), "it")
    assert [each.number for each in both] == [15, 1]
    assert root_of(both, None, "it").start == 40960 * 512
    assert root_of(both, 15, "it").number == 15
    assert root_of(both[:1], None, "it").number == 15
    for partitions, number in ((both, 3), ((), None), ((both[1], both[1]), None)):
        with pytest.raises(BuildFailed, match="1 is needed"):
            root_of(partitions, number, "it")


@pytest.mark.parametrize("said", [b"", b"[]", b"{}", sfdisk({"node": "/dev/x"}), b'{"partitiontable": 3}'])
def test_a_table_that_is_none_is_told(said: bytes) -> None:
    with pytest.raises(BuildFailed, match="no partition table"):
        table(said, "it")


@pytest.mark.parametrize("said", [b"x\n", b'["/a", 1]\n', b'["a", 1, 2, 3, 4, 5]\n', b"3\n", b'{"/a": 1}\n'])
def test_a_list_that_is_none_is_told(said: bytes) -> None:
    with pytest.raises(BuildFailed, match="no answer that can be used"):
        entries(said, "it")


def test_contents_are_those_that_were_asked_for() -> None:
    said = (2).to_bytes(8, "big") + b"ab" + (0).to_bytes(8, "big")
    assert list(pieces(said, 2, "it")) == [b"ab", b""]
    for wrong, count in ((said, 1), (said, 3), (said[:-1], 2), ((1 << 60).to_bytes(8, "big"), 1)):
        with pytest.raises(BuildFailed, match="no answer that can be used"):
            list(pieces(wrong, count, "it"))
