"""Archives that lie: each is refused in one line, without what it would take to unpack it."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from imagefactory.errors import BuildFailed
from imagefactory.inputs import wheels
from imagefactory.inputs.wheels import DEFAULT_BACKEND, build_requires
from imagefactory.system import archives
from imagefactory.system.archives import Bounds, members
from imagefactory.targets.oci.layers import entries
from imagefactory.targets.oci.stage import _unpack
from tests.unit.test_merge import Layer, archive, entry, link, merged

NAME = "a-1.tar.gz"
MIB = 1 << 20
PYPROJECT = b'[build-system]\nrequires = ["hatchling>=1"]\n'


@pytest.fixture(autouse=True)
def bounded(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Small bounds, and what reading takes stays far below what there would be to read."""
    monkeypatch.setattr(wheels, "BOUNDS", Bounds(32 * MIB, 1000, 20.0))
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < 40 * MIB
    finally:
        tracemalloc.stop()


def head(name: str, kind: bytes = tarfile.REGTYPE, size: int = 0, **more: Any) -> bytes:
    return entry(name, kind, size=size, **more).tobuf(tarfile.GNU_FORMAT)


def tar(*files: tuple[str, bytes]) -> bytes:
    padded = (head(name, size=len(data)) + data + bytes(-len(data) % 512) for name, data in files)
    return b"".join(padded) + bytes(1024)


def pyproject(data: bytes) -> bytes:
    return gzip.compress(tar(("a-1/pyproject.toml", data)))


def bomb(before: bytes) -> bytes:
    """64 MiB of nothing, compressed without having them all at once."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    parts = [packer.compress(before), *(packer.compress(bytes(MIB)) for _ in range(64))]
    return b"".join([*parts, packer.flush()])


def packed(method: int, *files: tuple[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as target:
        for name, data in files:
            target.writestr(name, data)
    return out.getvalue()


def xz(data: bytes) -> bytes:
    return lzma.compress(data, preset=0)  # others take much memory themselves


def numbered() -> bytes:
    """A header in which an old tarfile looks for a number without end."""
    return tarfile.TarInfo.create_pax_global_header({"comment": "1" * 100_000})


LIES: dict[str, tuple[Callable[[], bytes], str]] = {
    "a gzip bomb of one file": (
        lambda: bomb(head("a-1/big", size=64 * MIB)),
        "its files would have more than 33554432 bytes",
    ),
    "a bomb of many files": (
        lambda: bomb(b"".join(head(f"a-1/{n}", size=0) for n in range(5)) + head("x", size=33 * MIB)),
        "its files would have more than 33554432 bytes",
    ),
    "a file that is larger than any disk": (
        lambda: gzip.compress(head("a-1/big", size=8 << 60)),
        "its files would have more than 33554432 bytes",
    ),
    "a huge header": (
        lambda: gzip.compress(head("x", tarfile.XHDTYPE, size=1 << 33)),
        "an entry of it has a header of 8589934592 bytes",
    ),
    "a huge name": (
        lambda: gzip.compress(
            head("x", tarfile.GNUTYPE_LONGNAME, size=5000) + b"n" * 5000 + bytes(120) + head("x")
        ),
        f"its paths are too long: {'n' * 60}…",
    ),
    "a number without end": (
        lambda: gzip.compress(numbered() + head("x")),
        "it has a header with a number without end",
    ),
    "entries without end": (
        lambda: gzip.compress(head("a-1/x") * 1001),
        "it has more than 1000 entries",
    ),
    "a huge pyproject.toml": (
        lambda: pyproject(b"#" * 300_000),
        "its pyproject.toml has more than 262144 bytes",
    ),
    "keys that take the square": (
        lambda: pyproject(b"a." * 100_000 + b"a = 1"),
        "its pyproject.toml has keys that are too deep",
    ),
    "a place instead of a package": (
        lambda: pyproject(b'[build-system]\nrequires = ["x @ file:///etc"]'),
        "it is built with 'x @ file:///etc', and only packages of an index can be locked",
    ),
    "no package at all": (
        lambda: pyproject(b'[build-system]\nrequires = ["--index=http://x\\u001b[2J"]'),
        r"it is built with '--index=http://x\x1b[2J', which names no package",
    ),
    "a zip bomb": (
        lambda: packed(zipfile.ZIP_DEFLATED, ("a-1/pyproject.toml", bytes(8 * MIB))),
        "its pyproject.toml has more than 262144 bytes",
    ),
    "a zip bomb of another kind": (
        lambda: packed(zipfile.ZIP_BZIP2, ("a-1/pyproject.toml", bytes(8 * MIB))),
        "its pyproject.toml is compressed in an unusual way",
    ),
    "a zip of many names": (
        lambda: packed(zipfile.ZIP_STORED, *((f"{'n' * 60000}{n}", b"") for n in range(80))),
        "its list of entries is too long",
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_source_distribution_that_lies_is_refused(tmp_path: Path, lie: str) -> None:
    make, said = LIES[lie]
    name = "a-1.zip" if "zip" in lie and "gzip" not in lie else NAME
    (tmp_path / name).write_bytes(make())
    tracemalloc.reset_peak()
    with pytest.raises(BuildFailed) as caught:
        build_requires(tmp_path / name, name)
    assert caught.value.message == f"{name}: {said}"
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("packer", [bz2.compress, xz, gzip.compress])
def test_a_bomb_of_any_kind_is_left_alone(tmp_path: Path, packer: Callable[[bytes], bytes]) -> None:
    data = packer(head("a-1/x") + bytes(512) * 2 + bytes(2 * MIB))
    (tmp_path / NAME).write_bytes(data)
    assert build_requires(tmp_path / NAME, NAME) == DEFAULT_BACKEND
    flow = members(io.BytesIO(packer(head("a", size=MIB) + bytes(MIB) + head("b"))), "it", Bounds(MIB + 600))
    with pytest.raises(BuildFailed, match="it has more than 1049176 bytes once it is unpacked"):
        list(flow)


@pytest.mark.parametrize(
    "data",
    [
        pyproject(b"a = " + b"[" * 100_000),
        gzip.compress(tar(("a-1/pyproject.toml", PYPROJECT)))[:60],
        gzip.compress(bytes(600))[:20] + b"\xff" * 50,
        gzip.compress((head("x", tarfile.GNUTYPE_LONGNAME, size=1) + b"a".ljust(512, b"\0")) * 3000),
        xz(tar(("a-1/pyproject.toml", PYPROJECT)))[:70],
        bz2.compress(bytes(600))[:30],
        b"",
    ],
    ids=["deep", "truncated", "corrupt", "chain", "xz", "bz2", "empty"],
)
def test_what_is_damaged_is_built_as_pip_would(tmp_path: Path, data: bytes) -> None:
    (tmp_path / NAME).write_bytes(data)
    assert build_requires(tmp_path / NAME, NAME) == DEFAULT_BACKEND


def test_a_time_is_a_bound_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wheels, "BOUNDS", Bounds(32 * MIB, seconds=1e-9))
    (tmp_path / NAME).write_bytes(pyproject(PYPROJECT))
    with pytest.raises(BuildFailed, match="it takes more than 1e-09 seconds to read"):
        build_requires(tmp_path / NAME, NAME)


def test_a_xz_file_gets_no_more_memory_than_there_is_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / NAME).write_bytes(xz(tar(("a-1/pyproject.toml", PYPROJECT))))
    assert build_requires(tmp_path / NAME, NAME) == ("hatchling>=1",)
    monkeypatch.setattr(archives, "_XZ_MEMORY", 100_000)
    assert build_requires(tmp_path / NAME, NAME) == DEFAULT_BACKEND


# The layers of an image


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        ([("a/../../b", b"")], "it has the path a/../../b, which leads out of it"),
        ([("f", b"1"), link("g", "../f")], "it has the path ../f, which leads out of it"),
        ([("n" * 5000, b"")], f"its paths are too long: {'n' * 60}…"),
    ],
)
def test_a_layer_that_leads_out_of_its_image_is_refused(tmp_path: Path, layer: Layer, said: str) -> None:
    with pytest.raises(BuildFailed) as caught:
        merged(tmp_path, layer)
    assert caught.value.message.endswith(f": {said}")


def test_a_layer_has_a_size_that_a_machine_can_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layer: Layer = [("etc/new", bytes(MIB))]
    (tmp_path / "image.tar").write_bytes(archive(layer).getvalue())
    assert len(list(entries(tmp_path / "image.tar", 0))) == 1
    for module in ("common.merge", "oci.layers"):
        monkeypatch.setattr(f"imagefactory.targets.{module}.LAYER", Bounds(MIB - 1))
    with pytest.raises(BuildFailed, match="its files would have more than 1048575 bytes"):
        list(entries(tmp_path / "image.tar", 0))
    with pytest.raises(BuildFailed, match="its files would have more than 1048575 bytes"):
        merged(tmp_path, layer)


# A commit's tree


def tree(*entries: tarfile.TarInfo | tuple[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as target:
        for each in entries:
            if isinstance(each, tarfile.TarInfo):
                target.addfile(each)
            else:
                info = tarfile.TarInfo(each[0])
                info.size, info.mode = len(each[1]), 0o6777
                target.addfile(info, io.BytesIO(each[1]))
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (tree(("../x", b"1")), "it has the path ../x, which leads out of it"),
        (tree(("a/../../x", b"1")), "it has the path a/../../x, which leads out of it"),
        (
            tree(entry("l", tarfile.SYMTYPE, linkname="/tmp"), ("l/x", b"1")),
            "it has l/x twice, or beyond a link",
        ),
        (tree(entry("l", tarfile.SYMTYPE, linkname="../x"), ("l", b"1")), "it has l twice, or beyond a link"),
        (tree(entry("d", tarfile.CHRTYPE)), "it has d, which is no file, folder or symbolic link"),
        (tree(entry("d", tarfile.FIFOTYPE)), "it has d, which is no file, folder or symbolic link"),
        (tree(entry("d", tarfile.LNKTYPE, linkname="/etc/passwd")), "it has d, which is no file, folder or"),
        (b"no archive at all", "the archive is damaged: "),
    ],
)
def test_a_tree_that_leads_out_of_its_folder_is_refused(tmp_path: Path, data: bytes, said: str) -> None:
    (tmp_path / "tree.tar").write_bytes(data)
    (tmp_path / "scratch").mkdir()
    with pytest.raises(BuildFailed) as caught:
        _unpack(tmp_path / "tree.tar", tmp_path / "scratch" / "code", "app: code 1")
    assert caught.value.message.startswith(f"app: code 1: {said}")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scratch", "tree.tar"]
    assert not [path for path in (tmp_path / "scratch" / "code").iterdir() if not path.is_symlink()]


def test_a_tree_is_unpacked_without_rights_that_nobody_asked_for(tmp_path: Path) -> None:
    folder, absolute = entry("a", mtime=1000), ("/b", b"2")
    data = tree(folder, ("a/x", b"1"), entry("a/l", tarfile.SYMTYPE, linkname="/etc"), absolute)
    (tmp_path / "tree.tar").write_bytes(data)
    _unpack(tmp_path / "tree.tar", tmp_path / "code", "it")
    assert (tmp_path / "code/a/x").read_bytes() == b"1"
    assert (tmp_path / "code/a/x").stat().st_mode & 0o7777 == 0o755
    assert (tmp_path / "code/a").stat().st_mtime == 1000
    assert (tmp_path / "code/a/l").is_symlink()
    assert (tmp_path / "code/b").read_bytes() == b"2"
