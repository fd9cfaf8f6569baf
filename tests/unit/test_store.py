"""The store of inputs: whole files by their sha256, and drafts of those that are on their way."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from imagefactory.drive.stock import prune_store, stock, verify_store
from imagefactory.errors import BuildFailed, DiskFull
from imagefactory.locks import base_lock_file
from imagefactory.system.store import Store, file_sha256, place_file
from tests.unit.samples import RECIPE, apt_file, lock_all

DATA = b"an input\n"
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def put(store: Store, data: bytes = DATA, name: str = "") -> Path:
    """Store a file, under another name than its own where one is given."""
    sha256 = name or hashlib.sha256(data).hexdigest()
    with store.draft(sha256) as draft:
        draft.write_bytes(data)
        return store.take(draft, sha256)


def test_what_is_taken_is_there_whole(store: Store) -> None:
    assert not store.has(SHA256)
    path = put(store)
    assert path == store.path(SHA256) == store.folder / "sha256" / SHA256[:2] / SHA256
    assert store.has(SHA256)
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (DATA, 0o644)
    assert [(f.sha256, f.bytes) for f in store.files()] == [(SHA256, len(DATA))]
    assert not (store.folder / "partial" / SHA256).exists()
    assert file_sha256(path) == SHA256
    put(store)  # once more: the same
    assert store.path(SHA256).read_bytes() == DATA


def test_what_is_not_taken_is_not_there(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskFull, match="No space left"):
        put(store)
    assert not store.has(SHA256)
    assert list(store.files()) == []


def test_a_draft_is_carried_on_by_the_next(store: Store) -> None:
    with contextlib.suppress(ZeroDivisionError), store.draft(SHA256) as draft:
        draft.write_bytes(DATA[:3])
        raise ZeroDivisionError
    assert not store.has(SHA256)
    with store.draft(SHA256) as again:
        assert again.read_bytes() == DATA[:3]


def test_one_draft_has_one_writer_at_a_time(store: Store) -> None:
    inside, release, done = threading.Event(), threading.Event(), threading.Event()
    order: list[str] = []

    def first() -> None:
        with store.draft(SHA256):
            inside.set()
            assert release.wait(10)
            order.append("first")

    def second() -> None:
        with store.draft(SHA256):
            order.append("second")
        done.set()

    threads = [threading.Thread(target=first), threading.Thread(target=second)]
    threads[0].start()
    assert inside.wait(10)
    threads[1].start()
    with store.draft("0" * 64):  # another is free
        assert not done.wait(0.2)
    release.set()
    for thread in threads:
        thread.join(10)
    assert order == ["first", "second"]


def test_a_store_that_cannot_be_written_to_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BuildFailed, match="cannot write"), Store(tmp_path / "file").draft(SHA256):
        raise AssertionError


def test_damage_is_found(store: Store) -> None:
    put(store)
    put(store, b"other")
    assert list(store.damaged()) == []
    store.path(SHA256).write_bytes(b"damaged")
    assert [stored.sha256 for stored in store.damaged()] == [SHA256]


def test_a_file_that_is_used_is_noted(store: Store) -> None:
    path = put(store)
    os.utime(path, (1, 1))
    assert next(store.files()).used == 1
    assert store.use(SHA256) == path
    assert next(store.files()).used > time.time() - 60
    assert store.use("0" * 64) == store.path("0" * 64)  # nothing happens to what is not there


def test_downloads_that_nobody_carried_on_are_dropped(store: Store) -> None:
    for name in ("old", "new"):
        with store.draft(name) as draft:
            draft.write_bytes(DATA)
    for path in (store.folder / "partial").glob("old*"):
        os.utime(path, (1, 1))
    store.drop_partial(3600)
    assert {path.name for path in (store.folder / "partial").iterdir()} >= {"new"}
    assert not list((store.folder / "partial").glob("old*"))


def test_a_stored_file_stands_elsewhere_without_a_copy(store: Store, tmp_path: Path) -> None:
    path = put(store)
    os.utime(path, (1, 1))
    place_file(store, SHA256, tmp_path / "a" / "b" / "file")
    assert (tmp_path / "a" / "b" / "file").samefile(path)
    assert path.stat().st_mtime > 1


def test_a_stored_file_is_copied_where_it_cannot_be_linked(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, target: Any) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    put(store)
    place_file(store, SHA256, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == DATA
    assert not (tmp_path / "file").samefile(store.path(SHA256))


def test_a_second_file_in_the_same_place_changes_none_in_the_store(store: Store, tmp_path: Path) -> None:
    put(store)
    other = put(store, b"other").name
    place_file(store, SHA256, tmp_path / "file")
    with pytest.raises(FileExistsError):
        place_file(store, other, tmp_path / "file")
    assert list(store.damaged()) == []


# With a checkout


@pytest.fixture
def checkout(workspace: Any, store: Store, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A checkout with locks, whose ``hello`` is in the store, with an input that nobody needs."""
    monkeypatch.setenv("IMAGEFACTORY_STORE", str(store.folder))
    root = workspace(RECIPE)
    lock_all(root)
    put(store, name=apt_file().sha256)
    put(store, b"needed by nobody")
    return root


def test_the_stock_says_what_each_file_is_for(checkout: Any, store: Store) -> None:
    found = stock(checkout)
    assert found.folder == store.folder
    named = {stored.sha256: (name, users) for stored, name, users in found.files}
    assert named == {
        apt_file().sha256: ("hello 2.10-3", ("app",)),
        hashlib.sha256(b"needed by nobody").hexdigest(): ("", ()),
    }


def test_verify_removes_what_is_damaged(checkout: Any, store: Store) -> None:
    count, damaged = verify_store(checkout)
    assert (count, [stored.sha256 for stored in damaged]) == (2, [apt_file().sha256])
    assert not store.has(apt_file().sha256)
    assert verify_store(checkout) == (1, [])


def test_prune_keeps_what_is_needed_and_what_was_used(checkout: Any, store: Store) -> None:
    base = put(store, name=apt_file("dash", "0.5.12-2").sha256)  # of the base image
    recent = put(store, b"used just now")
    for stored in store.files():
        if stored.path != recent:
            os.utime(stored.path, (1, 1))
    removed = prune_store(checkout, time.time() - 3600)
    assert [stored.sha256 for stored in removed] == [hashlib.sha256(b"needed by nobody").hexdigest()]
    assert {stored.path for stored in store.files()} == {base, recent, store.path(apt_file().sha256)}
    # Without its lock, nothing says that a file is needed.
    base_lock_file(checkout, "debian-12").unlink()
    assert [stored.path for stored in prune_store(checkout, time.time() - 3600)] == [base]
