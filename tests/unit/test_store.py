"""The store of inputs: whole files by their sha256, and drafts of those that are on their way."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from imagefactory.drive.stock import prune_store, stock, verify_store
from imagefactory.drive.test_data import lay_out
from imagefactory.errors import BuildFailed, DiskFull
from imagefactory.inputs import pip_lock
from imagefactory.locks import base_lock_file
from imagefactory.model.recipe import SmokeTest
from imagefactory.model.recipe import TestData as Data
from imagefactory.system.holds import hold_file
from imagefactory.system.store import Store, file_sha256, place_file
from imagefactory.targets.base import bootstrap
from imagefactory.targets.oci.stage import stage_inputs
from tests.unit.samples import (
    RECIPE,
    apt_file,
    base_lock,
    base_spec,
    image,
    lock,
    lock_all,
    pip_file,
    sha256,
    spec,
)

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


def drafts(store: Store) -> Path:
    return store.folder / "partial" / str(os.geteuid())


def use(store: Store, sha256: str = SHA256, size: int = 0) -> bytes:
    with store.opened(sha256, "the input", size) as file:
        return file.read(100)


def test_what_is_taken_is_there_whole(store: Store) -> None:
    assert not store.has(SHA256)
    path = put(store)
    assert path == store.path(SHA256) == store.folder / "sha256" / SHA256[:2] / SHA256
    assert store.has(SHA256)
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (DATA, 0o644)
    assert [(f.sha256, f.bytes) for f in store.files()] == [(SHA256, len(DATA))]
    assert [path.name for path in drafts(store).iterdir()] == [f"{SHA256}.lock"]
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
    assert list(store.damaged()) == []
    assert next(store.files()).used == 1  # being looked at is no use
    assert use(store) == DATA
    assert next(store.files()).used > time.time() - 60


def test_downloads_that_nobody_carried_on_are_dropped(store: Store) -> None:
    for name in ("old", "new"):
        with store.draft(name) as draft:
            draft.write_bytes(DATA)
    (drafts(store) / "old.git").mkdir()  # of a killed run
    (drafts(store) / "old.git" / "config").touch()
    (drafts(store).parent / "old").touch()  # of an earlier version
    for path in (*drafts(store).glob("old*"), drafts(store).parent / "old"):
        os.utime(path, (1, 1))
    store.drop_partial(3600)
    assert {path.name for path in drafts(store).iterdir()} == {"new", "new.lock"}
    assert [path.name for path in drafts(store).parent.iterdir()] == [drafts(store).name]


def test_a_stored_file_stands_elsewhere_without_a_copy(store: Store, tmp_path: Path) -> None:
    path = put(store)
    os.utime(path, (1, 1))
    place_file(store, SHA256, tmp_path / "a" / "b" / "file", "the input")
    assert (tmp_path / "a" / "b" / "file").samefile(path)
    assert path.stat().st_mtime > 1


def test_a_stored_file_is_copied_where_it_cannot_be_linked(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*words: Any, **options: Any) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    put(store)
    place_file(store, SHA256, tmp_path / "file", "the input")
    assert (tmp_path / "file").read_bytes() == DATA
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o644
    assert not (tmp_path / "file").samefile(store.path(SHA256))


def test_a_second_file_in_the_same_place_changes_none_in_the_store(store: Store, tmp_path: Path) -> None:
    put(store)
    other = put(store, b"other").name
    place_file(store, SHA256, tmp_path / "file", "the input")
    with pytest.raises(FileExistsError):
        place_file(store, other, tmp_path / "file", "another")
    assert list(store.damaged()) == []


# Nothing in the store is believed


def edited(path: Path) -> None:
    path.write_bytes(DATA.upper())


def cut_off(path: Path) -> None:
    path.write_bytes(DATA[:4])


def swapped(path: Path) -> None:
    path.unlink()
    path.with_name("other").write_bytes(b"another\n.")
    path.with_name("other").rename(path)


def linked(path: Path) -> None:
    """To the right content, which is another's to change."""
    path.rename(path.parents[3] / "elsewhere")
    path.symlink_to(path.parents[3] / "elsewhere")


def linked_hard(path: Path) -> None:
    path.unlink()
    (path.parents[3] / "elsewhere").write_bytes(b"elsewhere")
    path.hardlink_to(path.parents[3] / "elsewhere")


def dangling(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "file").touch()


def a_socket(path: Path) -> None:
    path.unlink()
    os.mknod(path, stat.S_IFSOCK | 0o644)


BAD: list[tuple[Callable[[Path], None], str, bool]] = [
    (edited, "has another content", True),
    (cut_off, "has another content", True),
    (swapped, "has another content", True),
    (linked_hard, "has another content", True),
    (linked, "is no file with content", False),
    (dangling, "is no file with content", False),
    (a_pipe, "is no file with content", False),
    (a_folder, "is no file with content", False),
    (a_socket, "is no file with content", False),
]
bad = pytest.mark.parametrize(("harm", "flaw", "there"), BAD, ids=[row[0].__name__ for row in BAD])


@bad
def test_what_is_bad_is_found_before_use(
    store: Store, tmp_path: Path, harm: Callable[[Path], None], flaw: str, there: bool
) -> None:
    path = put(store)
    harm(path)
    assert store.has(SHA256) == there
    told = f"the input is damaged: {path} {flaw}"
    ways: list[Callable[[], object]] = [
        lambda: use(store),
        lambda: store.read(SHA256, 4, "the input"),
        lambda: store.checked_size(SHA256, "the input"),
        lambda: place_file(store, SHA256, tmp_path / "placed", "the input"),
    ]
    for way in ways:
        with pytest.raises(BuildFailed) as caught:
            way()
        assert caught.value.message == told
        assert caught.value.hint.startswith("run imagefactory store verify")
    assert not (tmp_path / "placed").exists()


@bad
def test_what_is_bad_is_removed_and_fetched_again(
    store: Store, harm: Callable[[Path], None], flaw: str, there: bool
) -> None:
    path = put(store)
    harm(path)
    (stored,) = store.damaged()
    store.remove(stored)
    assert not os.path.lexists(path)
    assert put(store).read_bytes() == DATA


def test_a_file_of_another_size_is_not_read(store: Store) -> None:
    path = put(store)
    with pytest.raises(BuildFailed) as caught:
        use(store, size=10_000)
    assert caught.value.message == f"the input is damaged: {path} has {len(DATA)} bytes, not 10000"


def test_a_file_that_cannot_be_read_says_so(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(store)
    real = os.open

    def refuse(name: Any, *words: Any, **options: Any) -> int:
        if name == SHA256:
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(name, *words, **options)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(BuildFailed) as caught:
        use(store)
    assert caught.value.message == f"the input is damaged: {path} cannot be read: Permission denied"


def test_a_file_that_is_not_there_is_no_damage(store: Store) -> None:
    for name in (SHA256, "", "../../etc/passwd", SHA256.upper(), f"{SHA256}/", f"{SHA256}\n"):
        assert not store.has(name)
        assert store.size(name) == 0
        with pytest.raises(BuildFailed, match="the input is not there: "):
            use(store, name)


@pytest.mark.parametrize("name", ["sha256", "sha256/xx", "partial"])
def test_no_link_leads_out_of_the_store(store: Store, tmp_path: Path, name: str) -> None:
    """Neither reading nor writing: what stands elsewhere stays as it is."""
    place = store.folder / name.replace("xx", SHA256[:2])
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / SHA256[:2]).mkdir(parents=True)
    for victim in (elsewhere / SHA256, elsewhere / SHA256[:2] / SHA256):
        victim.write_bytes(DATA)
    place.parent.mkdir(parents=True)
    place.symlink_to(elsewhere)
    assert not store.has(SHA256)
    assert list(store.files()) == []
    with pytest.raises(BuildFailed, match="cannot write"):
        put(store)
    store.drop_partial(-1)
    assert sorted(path.name for path in elsewhere.rglob("*")) == sorted([SHA256[:2], SHA256, SHA256])


def test_what_is_called_otherwise_is_none_of_the_stores(store: Store) -> None:
    path = put(store)
    for name in ("\x1b[2Jevil", "evil", SHA256[:60], "0" * 64):
        (path.parent / name).write_bytes(b"evil")
    (path.parents[1] / "evil").mkdir()
    (path.parents[1] / "zz").symlink_to("/etc")
    assert [stored.sha256 for stored in store.files()] == [SHA256]


@pytest.mark.parametrize("mode", [0o664, 0o666, 0o646, 0o4644, 0o600])
def test_what_others_may_change_is_copied(store: Store, tmp_path: Path, mode: int) -> None:
    """Hashed, and changed before it is used, it would be another; and not all can read each."""
    put(store).chmod(mode)
    place_file(store, SHA256, tmp_path / "file", "the input")
    assert not (tmp_path / "file").samefile(store.path(SHA256))
    assert (tmp_path / "file").read_bytes() == DATA
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o644
    assert stat.S_IMODE(store.path(SHA256).stat().st_mode) == mode


def test_a_link_leads_to_what_was_hashed(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever has the file's name by then."""
    path = put(store)
    real = os.link

    def late(source: Any, target: Any, **options: Any) -> None:
        path.rename(tmp_path / "moved")
        path.write_bytes(b"evil")
        real(source, target, **options)

    monkeypatch.setattr(os, "link", late)
    place_file(store, SHA256, tmp_path / "file", "the input")
    assert (tmp_path / "file").samefile(tmp_path / "moved")
    assert (tmp_path / "file").read_bytes() == DATA


def test_a_file_that_becomes_shorter_is_not_used(store: Store, tmp_path: Path) -> None:
    path = put(store, DATA * 1000)
    with store.opened(path.name, "the input") as file:
        assert file.read(4) == DATA[:4]
        os.truncate(path, 4)
        with pytest.raises(BuildFailed, match="became shorter"):
            file.check()
        path.write_bytes(DATA * 1000)


def test_what_is_written_meanwhile_is_ours_alone(store: Store) -> None:
    """Others neither read nor write drafts, and no draft is a link of theirs."""
    put(store)
    assert stat.S_IMODE(drafts(store).stat().st_mode) == 0o700
    drafts(store).chmod(0o777)
    with store.draft(SHA256):
        assert stat.S_IMODE(drafts(store).stat().st_mode) == 0o700


def test_a_draft_stays_where_it_was_begun(store: Store, tmp_path: Path) -> None:
    """Even if the folders above are swapped, as their owners can."""
    (tmp_path / "evil" / str(os.geteuid())).mkdir(parents=True)
    (tmp_path / "victim").write_bytes(b"theirs")
    (tmp_path / "evil" / str(os.geteuid()) / SHA256).symlink_to(tmp_path / "victim")
    with store.draft(SHA256) as draft:
        (store.folder / "partial").rename(tmp_path / "moved")
        (store.folder / "partial").symlink_to(tmp_path / "evil")
        draft.write_bytes(DATA)
        store.take(draft, SHA256)
    assert (tmp_path / "victim").read_bytes() == b"theirs"
    assert use(store) == DATA


def test_messages_name_the_draft_as_people_find_it(store: Store) -> None:
    with pytest.raises(BuildFailed) as caught, store.draft(SHA256) as draft:
        raise BuildFailed(f"cannot write {draft}: why")
    assert caught.value.message == str(caught.value) == f"cannot write {drafts(store) / SHA256}: why"
    with pytest.raises(OSError, match="No such file") as fault, store.draft(SHA256) as draft:
        (draft / "x").read_bytes()
    assert fault.value.filename == str(drafts(store) / SHA256 / "x")


def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "made")
    with pytest.raises(BuildFailed, match="cannot write"), hold_file(tmp_path / "lock"):
        raise AssertionError
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("umask", [0o000, 0o002, 0o022, 0o077])
def test_modes_do_not_hang_on_the_umask(store: Store, umask: int) -> None:
    store.folder.mkdir()
    store.folder.chmod(0o2775)  # for a group
    before = os.umask(umask)
    try:
        path = put(store)
    finally:
        os.umask(before)
    modes = [stat.S_IMODE(each.stat().st_mode) for each in (path, path.parent, path.parents[1])]
    assert modes == [0o644, 0o3775, 0o3775]


# Whoever uses it finds out

HELLO = apt_file(bytes=len(b"apt hello 2.10-3"))
SDIST = pip_file(file="numpy/numpy-2.1.0.tar.gz", bytes=len(b"pip numpy 2.1.0"))
READ = Data(url="https://example.org/data.txt", sha256=sha256("data"))
READER = image(test_data={"data": READ}, tests=(SmokeTest(name="reads", command=("cat",), data=("data",)),))


def staged(store: Store, folder: Path) -> None:
    stage_inputs(spec(lock=lock(image={"apt": (HELLO,)})), folder / "sources", store)


def bootstrapped(store: Store, folder: Path) -> None:
    """No process may start here, so it must end before it looks into a package."""
    ours = base_spec(lock=base_lock(image={"apt": (HELLO,)}))
    log = SimpleNamespace(step=lambda name: None)
    bootstrap._bootstrap(
        ours, folder / "tar", cast(Any, SimpleNamespace(store=store, scratch=folder, log=log))
    )


def laid_out(store: Store, folder: Path) -> None:
    lay_out(READER, folder / "data", store, full=False)


def asked_what_builds_it(store: Store, folder: Path) -> None:
    pip_lock._builders([SDIST], {}, "app", cast(Any, SimpleNamespace(store=store, scratch=folder)))


USERS: list[tuple[Callable[[Store, Path], None], str, str, str]] = [
    (staged, "apt hello 2.10-3", "app: the store's hello 2.10-3", "app: the store lacks hello 2.10-3"),
    (bootstrapped, "apt hello 2.10-3", "debian-12: the store's hello 2.10-3", "debian-12: "),
    (
        laid_out,
        "data",
        "recipes/app: the store's test data data",
        "recipes/app: the store's test data data is not",
    ),
    (asked_what_builds_it, "pip numpy 2.1.0", "app: the store's numpy 2.1.0", ""),
]


@pytest.mark.parametrize(("use_it", "text", "what", "lacks"), USERS, ids=[row[0].__name__ for row in USERS])
def test_whoever_uses_a_file_finds_that_it_is_bad(
    store: Store,
    tmp_path: Path,
    use_it: Callable[[Store, Path], None],
    text: str,
    what: str,
    lacks: str,
) -> None:
    path = put(store, text.encode())
    path.write_bytes(text.upper().encode())
    (tmp_path / "1").mkdir()
    with pytest.raises(BuildFailed) as caught:
        use_it(store, tmp_path / "1")
    assert caught.value.message == f"{what} is damaged: {path} has another content"
    assert not [each for each in (tmp_path / "1").rglob("*") if each.is_file()]
    path.unlink()
    os.mkfifo(path)  # which nobody waits for
    if lacks:
        (tmp_path / "2").mkdir()
        with pytest.raises(BuildFailed) as caught:
            use_it(store, tmp_path / "2")
        assert caught.value.message.startswith((lacks, what))


def test_what_is_good_is_used(store: Store, tmp_path: Path) -> None:
    for text in ("apt hello 2.10-3", "data", "pip numpy 2.1.0"):
        put(store, text.encode())
    staged(store, tmp_path)
    laid_out(store, tmp_path)
    asked_what_builds_it(store, tmp_path)
    (deb,) = (path for path in (tmp_path / "sources").rglob("*") if path.is_file())
    assert deb.read_bytes() == b"apt hello 2.10-3"
    assert (tmp_path / "data" / "data" / "data.txt").read_bytes() == b"data"


def test_what_others_own_keeps_its_mode_where_tests_read_it(store: Store, tmp_path: Path) -> None:
    put(store, b"data").chmod(0o600)
    laid_out(store, tmp_path)
    assert stat.S_IMODE((tmp_path / "data" / "data" / "data.txt").stat().st_mode) == 0o644
    assert stat.S_IMODE(store.path(READ.sha256).stat().st_mode) == 0o600


def test_looking_for_files_reads_none(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A build that does nothing costs nothing."""
    put(store)

    def read(*words: Any) -> bytes:
        raise AssertionError("a file was read")

    monkeypatch.setattr(os, "read", read)
    assert store.has(SHA256)
    assert store.size(SHA256) == len(DATA)
    assert [stored.bytes for stored in store.files()] == [len(DATA)]


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
