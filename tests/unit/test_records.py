"""The folder of one image below build/."""

from __future__ import annotations

import errno
import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from imagefactory.errors import BuildFailed, DiskFull, Interrupted
from imagefactory.model.report import TestReport
from imagefactory.model.spec import File
from imagefactory.system.files import may_write, remove_tree, write_file, write_files
from imagefactory.system.processes import Stop
from imagefactory.system.records import REMEMBERED, Record
from tests.unit.samples import report


def never() -> None:
    raise AssertionError("it waited")


@pytest.fixture
def record(tmp_path: Path) -> Record:
    return Record(tmp_path / "build" / "app" / "oci")


def test_a_report_comes_back_as_it_was_written(record: Record) -> None:
    assert record.read() is None
    with record.locked(never, Stop()):
        record.write(report())
    assert record.read() == report()


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\x00", b"[]", b'{"schema_version": 1}'])
def test_a_report_that_cannot_be_understood_counts_as_none(record: Record, content: bytes) -> None:
    record.folder.mkdir(parents=True)
    record.report_file.write_bytes(content)
    assert record.read() is None


def test_a_report_of_before_memory_was_told_is_understood(record: Record) -> None:
    old = report().model_dump(mode="json")
    del old["memory"]
    record.folder.mkdir(parents=True)
    record.report_file.write_text(json.dumps(old))
    assert record.read() == report()


def test_former_reports_are_remembered_up_to_a_bound(record: Record) -> None:
    assert record.history().reports == ()
    for number in range(REMEMBERED + 2):
        record.write(report(bytes=number))
    past = record.history().reports
    assert [each.bytes for each in past] == list(range(2, REMEMBERED + 2))
    tests = (TestReport(name="runs", kind="smoke", status="failed"),)
    record.write(report(bytes=1, status="failed", tests=tests), made=False)
    past = record.history().reports
    assert (len(past), past[-1].status) == (REMEMBERED, "failed")
    assert past[-1].tests == {"passed": 0, "failed": 1, "not-run": 0}


def test_a_damaged_history_begins_again(record: Record) -> None:
    record.write(report())
    record.history_file.write_text("{")
    record.write(report(bytes=2))
    assert [each.bytes for each in record.history().reports] == [2]


def test_those_who_only_read_share_the_lock(record: Record) -> None:
    other, stop = Record(record.folder), Stop()
    with (
        record.locked(never, stop, shared=True),
        other.locked(never, stop, shared=True),
        record.if_free() as free,
    ):
        assert not free
    with record.locked(never, Stop()), pytest.raises(Interrupted):  # noqa: SIM117
        with other.locked(stop.now, stop, shared=True):
            never()


def test_only_one_holds_the_lock(record: Record) -> None:
    with record.if_free() as free:
        assert free
    waits: list[str] = []
    got, release = threading.Event(), threading.Event()

    def waits_once() -> None:
        waits.append("once")
        release.set()

    def second() -> None:
        with Record(record.folder).locked(waits_once, Stop()):
            got.set()

    with record.locked(never, Stop()):
        with Record(record.folder).if_free() as free:
            assert not free
        thread = threading.Thread(target=second)
        thread.start()
        assert release.wait(10)
        assert not got.is_set()
    thread.join(10)
    assert got.is_set()
    assert waits == ["once"]
    with record.if_free() as free:
        assert free


def test_the_lock_is_free_again_after_a_failure(record: Record) -> None:
    with pytest.raises(ZeroDivisionError), record.locked(never, Stop()):
        raise ZeroDivisionError
    with record.if_free() as free:
        assert free


def test_whoever_waits_can_be_stopped(record: Record) -> None:
    stop = Stop()
    with record.locked(never, Stop()), pytest.raises(Interrupted):  # noqa: SIM117
        with Record(record.folder).locked(stop.now, stop):
            never()


def test_a_file_is_replaced_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "report.json"
    write_file(file, b"old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskFull, match=r"cannot write .*report\.json: No space left"):
        write_file(file, b"new")
    assert file.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["report.json"]  # noqa: PTH208


def test_a_folder_holds_exactly_what_was_written(tmp_path: Path) -> None:
    folder = tmp_path / "context"
    write_files(folder, [File("old.txt", 0o644, b"old"), File("sub/run.sh", 0o755, b"true")])
    write_files(folder, [File("sub/run.sh", 0o755, b"false"), File("new.txt", 0o644, b"new")])
    found = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    assert {name: path.read_bytes() for name, path in found.items()} == {
        "sub/run.sh": b"false",
        "new.txt": b"new",
    }
    assert found["sub/run.sh"].stat().st_mode & 0o777 == 0o755
    assert (folder / "sub").stat().st_mode & 0o777 == 0o755
    assert os.listdir(tmp_path) == ["context"]  # noqa: PTH208


def test_a_marked_folder_is_known_again(tmp_path: Path) -> None:
    folder = tmp_path / "context"
    assert may_write(folder)
    write_files(folder, [File("a", 0o644, b"")], mark=True)
    assert may_write(folder)
    (folder / "notes").touch()
    assert not may_write(folder)
    write_files(folder, [File("a", 0o644, b"")])
    assert not may_write(folder)
    (folder / "a").unlink()
    assert may_write(folder)
    folder.rmdir()
    folder.touch()
    assert not may_write(folder)


def test_a_failed_write_leaves_no_draft(tmp_path: Path) -> None:
    with pytest.raises(BuildFailed):
        write_files(tmp_path / "context", [File("a", 0o644, b""), File("a/b", 0o644, b"")])
    assert not list(tmp_path.iterdir())


def test_scratch_is_empty_and_goes(record: Record) -> None:
    record.scratch.mkdir(parents=True)
    (record.scratch / "left").touch()
    assert record.abandoned() == [record.scratch]
    with record.scratch_folder() as folder:
        assert not list(folder.iterdir())
        (folder / "file").touch()
    assert not record.scratch.exists()
    assert record.abandoned() == []


def test_a_tree_with_a_mount_below_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = tmp_path / "scratch"
    (tree / "root" / "proc").mkdir(parents=True)
    (tree / "file").touch()
    monkeypatch.setattr(os.path, "ismount", lambda path: Path(path).name == "proc")
    with pytest.raises(BuildFailed, match="root/proc is still mounted"):
        remove_tree(tree)
    assert (tree / "file").exists()
    monkeypatch.setattr(os.path, "ismount", lambda path: False)
    remove_tree(tree)
    assert not tree.exists()
    remove_tree(tree)


def test_removing_a_tree_follows_no_link(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").touch()
    tree = tmp_path / "scratch"
    tree.mkdir()
    (tree / "link").symlink_to(kept)
    remove_tree(tree)
    assert (kept / "file").exists()


def test_another_user_s_files_are_removed_in_a_user_namespace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def refuse(path: Path) -> Any:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("imagefactory.system.files.shutil.rmtree", refuse)
    monkeypatch.setattr("imagefactory.system.files.run", lambda argv, **options: asked.append(argv))
    remove_tree(tmp_path)
    assert asked == [["unshare", "--map-root-user", "--map-auto", "rm", "-rf", "--", str(tmp_path)]]
