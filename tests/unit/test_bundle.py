"""Files that are no bundles, or damaged ones: refused in words, and nothing of them stays."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imagefactory.deliver.bundle import read_bundle
from imagefactory.errors import BadInput, BuildFailed
from imagefactory.system.history import Standing, standing
from imagefactory.system.site import Site
from imagefactory.system.store import Store
from tests.unit.samples import RECIPE

DATA = b"an input\n"
SHA256 = hashlib.sha256(DATA).hexdigest()
ABOUT = {
    "format": 1,
    "images": ["app"],
    "standing": {"recipes/app/recipe.yaml": {"revision": "a" * 40, "epoch": 1_700_000_000}},
}
GOOD: dict[str, bytes] = {
    "bundle.json": json.dumps(ABOUT).encode(),
    "recipes/app/recipe.yaml": RECIPE.encode(),
    "recipes/app/install.sh": b"#!/bin/sh\n",
    "base_images/debian-12.yaml": b"name: debian-12\n",
    "pyproject.toml": b"",
    "build/debian-12/layout/index.json": b"{}",
    f"store/{SHA256}": DATA,
}

Read = Callable[[], list[str]]


def pack(file: Path, files: dict[str, bytes], **member: Any) -> None:
    """Write a tar archive; the last file in it gets what is special about it."""
    with tarfile.open(file, "w") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            if name == list(files)[-1]:
                for key, value in member.items():
                    setattr(entry, key, value)
            archive.addfile(entry, io.BytesIO(data))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "app.bundle.tar"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def read(file: Path, store: Store, tmp_path: Path) -> Read:
    return lambda: read_bundle(file, tmp_path / "new" / "app", Site(store=store.folder))


def left(tmp_path: Path) -> list[str]:
    """What stands beside the checkout that was not made."""
    return [path.name for path in (tmp_path / "new").glob("*")] + [
        path.name for path in (tmp_path / "new").glob(".*")
    ]


def test_a_bundle_becomes_a_checkout(file: Path, store: Store, read: Read, tmp_path: Path) -> None:
    pack(file, GOOD)
    assert read() == ["app"]
    root = tmp_path / "new" / "app"
    found = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    assert found == {name for name in GOOD if not name.startswith("store/")}
    assert (root / "recipes" / "app" / "install.sh").read_bytes() == b"#!/bin/sh\n"
    assert [stored.sha256 for stored in store.files()] == [SHA256]
    assert left(tmp_path) == ["app"]
    # Where the recipe stood in git where the bundle was made:
    assert standing(root / "recipes" / "app", "recipe.yaml") == Standing("a" * 40, 1_700_000_000)


def test_what_the_store_has_is_not_taken_again(file: Path, store: Store, read: Read) -> None:
    with store.draft(SHA256) as draft:
        draft.write_bytes(DATA)
        before = store.take(draft, SHA256).stat().st_mtime_ns
    pack(file, GOOD)
    read()
    assert store.path(SHA256).stat().st_mtime_ns == before


def test_a_folder_that_is_there_stays_as_it_is(file: Path, read: Read, tmp_path: Path) -> None:
    pack(file, GOOD)
    (tmp_path / "new" / "app").mkdir(parents=True)
    with pytest.raises(BadInput) as caught:
        read()
    assert caught.value.message == f"{tmp_path / 'new' / 'app'} exists already"
    assert caught.value.hint == "name another folder with --to"
    assert left(tmp_path) == ["app"]


NO_BUNDLE = "is no bundle: imagefactory bundle makes them"
DAMAGED = "is a damaged bundle: its description cannot be read"


def described(**changes: Any) -> dict[str, bytes]:
    return {**GOOD, "bundle.json": json.dumps({**ABOUT, **changes}).encode()}


def refused(read: Read, tmp_path: Path, store: Store) -> str:
    """Why it is refused; and nothing of it is left."""
    with pytest.raises(BadInput) as caught:
        read()
    assert left(tmp_path) == []
    assert not (tmp_path / "evil").exists()
    return caught.value.message


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, NO_BUNDLE),
        ({"other.txt": b""}, NO_BUNDLE),
        (dict(reversed(GOOD.items())), NO_BUNDLE),
        ({**GOOD, "bundle.json": b"{"}, DAMAGED),
        ({**GOOD, "bundle.json": b"\xff"}, DAMAGED),
        ({**GOOD, "bundle.json": b"[]"}, DAMAGED),
        ({**GOOD, "bundle.json": b"{}"}, DAMAGED),
        (described(images=1), DAMAGED),
        (described(format=2), "was made by another version of imagefactory"),
    ],
)
def test_what_is_no_bundle(
    file: Path, read: Read, store: Store, tmp_path: Path, files: dict[str, bytes], words: str
) -> None:
    pack(file, files)
    assert refused(read, tmp_path, store) == f"{file} {words}"


@pytest.mark.parametrize(
    "name",
    [
        *("../evil", "recipes/../../evil", "/evil", "evil", "etc/passwd", "recipes/app/../../../evil"),
        *("store/../../evil", "./evil", "recipes\\..\\evil", "..", ".git/config", "site.yaml"),
    ],
)
def test_a_path_that_leads_elsewhere(file: Path, read: Read, store: Store, tmp_path: Path, name: str) -> None:
    pack(file, {**GOOD, name: b"evil"})
    assert refused(read, tmp_path, store) == f"{file} is no bundle: it holds {name}"


@pytest.mark.parametrize("name", [".", "./", ""])
def test_a_path_that_leads_nowhere(file: Path, read: Read, store: Store, tmp_path: Path, name: str) -> None:
    pack(file, {**GOOD, name: b"evil"})
    assert refused(read, tmp_path, store).startswith(f"{file} is no bundle: it holds ")


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE]
)
def test_only_plain_files_are_taken(
    file: Path, read: Read, store: Store, tmp_path: Path, kind: bytes
) -> None:
    pack(file, {**GOOD, "recipes/app/files/x": b""}, type=kind, linkname="/etc/passwd")
    assert refused(read, tmp_path, store) == f"{file} is no bundle: it holds recipes/app/files/x"


@pytest.mark.parametrize("content", [b"", b"not a tar archive", b"\x1f\x8b\x08" + bytes(600), bytes(10240)])
def test_what_is_no_archive(file: Path, read: Read, store: Store, tmp_path: Path, content: bytes) -> None:
    file.write_bytes(content)
    assert refused(read, tmp_path, store).startswith(f"{file} is no bundle")


@pytest.mark.parametrize("missing", [1, 600, 5000, 9000])
def test_a_bundle_that_was_cut_off(
    file: Path, read: Read, store: Store, tmp_path: Path, missing: int
) -> None:
    big = {**GOOD, "recipes/app/files/big": bytes(20_000)}
    pack(file, big)
    end = file.read_bytes().rindex(b"recipes/app/files/big") + 512 + 20_000
    file.write_bytes(file.read_bytes()[: end - missing])
    assert "is no bundle, or a damaged one: " in refused(read, tmp_path, store)


def test_a_damaged_input_reaches_no_store(file: Path, read: Read, store: Store, tmp_path: Path) -> None:
    pack(file, {**GOOD, f"store/{SHA256}": b"damaged"})
    with pytest.raises(BuildFailed) as caught:
        read()
    found = hashlib.sha256(b"damaged").hexdigest()
    assert caught.value.message == (
        f"{file} is damaged: an input in it has sha256 {found}, and {SHA256} is expected"
    )
    assert caught.value.hint == "copy the bundle again"
    assert not list(store.files())
    assert not (store.folder / "partial" / SHA256).exists()
    assert left(tmp_path) == []
