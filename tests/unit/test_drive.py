"""The driver and its workers, on kinds of targets that need no engine."""

from __future__ import annotations

import dataclasses
import pickle
import shutil
import threading
import time
from collections import namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from imagefactory.drive.driver import drive
from imagefactory.drive.planning import plan_targets, stale_targets
from imagefactory.drive.result import Options, Result, Stopped
from imagefactory.drive.session import Run, Session, session_of
from imagefactory.drive.tasks import build_targets
from imagefactory.drive.tasks import test_images as run_tests_of
from imagefactory.drive.worker import Order
from imagefactory.errors import (
    BadFiles,
    BuildFailed,
    DiskFull,
    EngineError,
    FactoryError,
    Problem,
)
from imagefactory.model.lock import Lock, LockedFile
from imagefactory.model.report import MemoryReport, TestReport
from imagefactory.model.target import Room, Target, TargetId
from imagefactory.plan import Selection, judge
from imagefactory.system.log import Silence
from imagefactory.system.processes import Stop
from imagefactory.system.workspace import Workspace
from imagefactory.targets import register
from imagefactory.targets.kind import Job
from tests.unit import toys
from tests.unit.elsewhere import Elsewhere
from tests.unit.samples import RECIPE, everything, lock_all, named, spec, target

GIB = 1 << 30
KINDS = ("toy", "second", "third")
REAL = register.lines()


@pytest.fixture(autouse=True)
def behaviour(monkeypatch: pytest.MonkeyPatch) -> toys.Behaviour:
    """Toys alone are in the register, and do as the test says."""
    monkeypatch.setattr(register, "_LINES", [register.line("base"), *toys.LINES])
    monkeypatch.setattr(toys, "behaviour", toys.Behaviour())
    return toys.behaviour


@pytest.fixture
def root(workspace: Callable[..., Workspace]) -> Workspace:
    """Four recipes that are locked."""
    for name in ("b", "c", "d"):
        workspace(named(RECIPE, name), name)
    found = workspace(named(RECIPE, "a"), "a")
    lock_all(found)
    return found


@pytest.fixture
def session(root: Workspace, monkeypatch: pytest.MonkeyPatch) -> Session:
    monkeypatch.setattr("imagefactory.drive.tasks.sweep", lambda session: None)
    monkeypatch.setenv("IMAGEFACTORY_STORE", str(root.root / "store"))
    return session_of(Run(root.root), Silence(), Stop())


class Watcher:
    """Hears everything, and does something on the first of it."""

    def __init__(self, then: Callable[..., None] = lambda *words: None) -> None:
        self.heard: list[tuple[Any, ...]] = []
        self._then = then

    def __getattr__(self, what: str) -> Callable[..., None]:
        def hear(*words: Any) -> None:
            self.heard.append((what, *words))
            self._then(what, *words)

        return hear


def images(session: Session, *names: str) -> Selection:
    from imagefactory.definitions.recipes import load_images

    return Selection(tuple(load_images(session.workspace, names or ["a", "b", "c", "d"])))


def build(session: Session, *names: str, kinds: tuple[str, ...] = KINDS, **options: Any) -> list[Result]:
    return build_targets(dataclasses.replace(session), images(session, *names), Options(**options), kinds)


def told(results: list[Result]) -> dict[str, str]:
    return {str(item.id): item.action for item in results}


def test_each_is_made_after_what_it_needs(session: Session, behaviour: toys.Behaviour) -> None:
    assert told(build(session, "a")) == {"toy/a": "build", "second/a": "build", "third/a": "build"}
    assert behaviour.order == ["toy/a", "second/a", "third/a"]
    report = session.last(TargetId("third", "a"))
    assert report is not None
    assert (report.status, report.file, report.published) == ("passed", "a.third", ())
    assert [(need.kind, need.id) for need in report.needs] == [("second", "a")]
    assert [test.name for test in report.tests] == ["runs", "whole"]
    assert set(told(build(session, "a")).values()) == {"nothing"}


def test_only_what_was_asked_for_and_what_it_needs_is_made(session: Session) -> None:
    assert told(build(session, "a", kinds=("second",))) == {"toy/a": "build", "second/a": "build"}
    assert told(build(session, "a", kinds=("second",))) == {"second/a": "nothing"}


def test_one_image_is_made_while_another_is_tested(session: Session, behaviour: toys.Behaviour) -> None:
    """Two that wait for each other can only end if both run."""
    barrier = threading.Barrier(2)

    def meet(job: Job) -> bytes:
        # The second kind of one image and the first of another.
        if str(job.target.id) in ("second/a", "toy/b"):
            barrier.wait(30)
        return b"data"

    behaviour.makes = meet
    assert "failed" not in told(build(session, "a", "b")).values()


def test_a_failure_stops_only_what_needs_it(session: Session, behaviour: toys.Behaviour) -> None:
    behaviour.fails = {"second/a": "it is not whole"}

    def makes(job: Job) -> bytes:
        if str(job.target.id) == "toy/b":
            raise BuildFailed("it breaks")
        if str(job.target.id) == "toy/c":
            raise ZeroDivisionError
        return b"data"

    behaviour.makes = makes
    results = build(session)
    assert told(results) == {
        "toy/a": "build",
        "second/a": "failed",
        "third/a": "skipped",
        "toy/b": "failed",
        "second/b": "skipped",
        "third/b": "skipped",
        "toy/c": "failed",
        "second/c": "skipped",
        "third/c": "skipped",
        "toy/d": "build",
        "second/d": "build",
        "third/d": "build",
    }
    messages = {str(item.id): item.error.message for item in results if item.error}
    assert messages["second/a"] == "a (second): contract test whole: it is not whole"
    assert messages["toy/c"] == "c (toy): unexpected ZeroDivisionError: "
    assert next(item.reasons for item in results if str(item.id) == "third/b") == ("b (second) failed",)
    # What failed was not kept. It is tested again, and gets its name when it passes.
    assert not (session.workspace.build / "a" / "a.second").exists()
    behaviour.fails, behaviour.makes = {}, lambda job: b"data"
    assert told(build(session, "a")) == {"toy/a": "nothing", "second/a": "test", "third/a": "build"}
    assert (session.workspace.build / "a" / "a.second").exists()


def test_what_comes_out_otherwise_is_followed(session: Session, behaviour: toys.Behaviour) -> None:
    """Made again of the same ingredients, it is another: what was made of it is made again as well."""
    build(session, "a")
    (session.workspace.build / "a" / "a.toy").unlink()
    behaviour.makes = lambda job: b"data"
    assert told(build(session, "a")) == {"toy/a": "build", "second/a": "nothing", "third/a": "nothing"}
    (session.workspace.build / "a" / "a.toy").unlink()
    behaviour.makes = lambda job: b"other" if str(job.target.id) == "toy/a" else b"data"
    results = build(session, "a")
    assert told(results) == {"toy/a": "build", "second/a": "build", "third/a": "nothing"}
    assert results[1].reasons == ("toy a came out otherwise: 64617461… → 6f746865…",)


def test_what_others_need_is_handed_over_and_gone_at_the_end(
    session: Session, behaviour: toys.Behaviour
) -> None:
    seen: list[bool] = []

    def makes(job: Job) -> bytes:
        seen.extend(kept.record.handover.exists() for kept in job.needs.values())
        return b"data"

    behaviour.makes = makes
    build(session, "a", "b")
    assert seen == [True] * 4
    assert not list(session.workspace.build.rglob(".handover*"))


@pytest.mark.parametrize(
    ("room", "at_once"),
    [
        (Room(cores=8), 1),  # all that this machine gives: twice its cores
        (Room(cores=4.5), 1),
        (Room(cores=4), 2),
        (Room(memory=16 * GIB), 1),
        (Room(memory=8 * GIB), 2),
    ],
)
def test_as_many_run_as_there_is_room_for(
    session: Session,
    behaviour: toys.Behaviour,
    monkeypatch: pytest.MonkeyPatch,
    room: Room,
    at_once: int,
) -> None:
    """On a machine of four cores and 16 GiB."""
    machine(monkeypatch, cores=4, memory=16 * GIB)
    behaviour.makes = lambda job: time.sleep(0.2) or b"data"  # type: ignore[func-returns-value]
    behaviour.rooms = {f"toy/{name}": room for name in "abcd"}
    assert "failed" not in told(build(session, kinds=("toy",))).values()
    assert behaviour.most_at_once == at_once


def machine(monkeypatch: pytest.MonkeyPatch, *, cores: int, memory: int) -> None:
    monkeypatch.setattr("imagefactory.drive.room.os.cpu_count", lambda: cores)
    facts = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": memory // 4096}
    monkeypatch.setattr("imagefactory.drive.room.os.sysconf", facts.__getitem__)


def test_what_needs_more_memory_than_there_is_runs_alone_and_is_told_before(
    session: Session, behaviour: toys.Behaviour, monkeypatch: pytest.MonkeyPatch
) -> None:
    warning = "needs 12 GiB of memory, 8 GiB there: it runs alone and may fail"
    machine(monkeypatch, cores=4, memory=8 * GIB)
    behaviour.makes = lambda job: time.sleep(0.05) or b"data"  # type: ignore[func-returns-value]
    behaviour.rooms = {"toy/a": Room(memory=12 * GIB)}
    plans, _ = plan_targets(session, images(session, "a").images, ())
    assert [item.warnings for item in plans] == [(warning,), (), ()]
    watcher = Watcher()
    results = build(dataclasses.replace(session, progress=watcher), "a", kinds=("toy",))
    assert [(item.action, item.warnings) for item in results] == [("build", (warning,))]
    assert watcher.heard[:2] == [
        ("phase", "a (toy)", warning),
        ("phase", "a (toy)", "building: it was never made here"),
    ]
    plans, _ = plan_targets(session, images(session, "a").images, ())
    assert plans[0].warnings == ()  # nothing is to be done


def test_too_small_a_disk_is_told_before_anything_starts(
    session: Session, behaviour: toys.Behaviour, monkeypatch: pytest.MonkeyPatch
) -> None:
    Usage = namedtuple("Usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda place: Usage(100 * GIB, 92 * GIB, 8 * GIB))
    folder = session.workspace.root
    behaviour.rooms = {"toy/a": Room(disk={str(folder / "x"): 10 * GIB, str(folder / "y"): 2 * GIB})}
    results = build(session, "a", "b")
    assert told(results)["toy/a"] == "failed"
    assert told(results)["third/b"] == "build"
    assert isinstance(results[0].error, DiskFull)
    assert results[0].error.message == f"a (toy) needs 12 GiB of disk below {folder}, 8 GiB are free"
    assert "toy/a" not in behaviour.order


def test_what_cannot_fit_is_told_before_what_it_needs_is_made(
    session: Session, behaviour: toys.Behaviour, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With all that is made before it and stays; and what only it needs is not made for nothing."""
    Usage = namedtuple("Usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda place: Usage(100 * GIB, 90 * GIB, 10 * GIB))
    folder = str(session.workspace.root)
    behaviour.rooms = {
        "toy/a": Room(disk={folder: 9 * GIB}, stays={folder: 2 * GIB}),
        "second/a": Room(disk={folder: 8 * GIB}, stays={folder: 3 * GIB}),
        "third/a": Room(disk={folder: 6 * GIB}),
        "second/b": Room(disk={folder: 11 * GIB}),
        "toy/c": Room(disk={folder: 5 * GIB}),
    }
    results = build(session, "a", "b", "c", kinds=("second", "third"))
    assert told(results) == {
        "toy/a": "build",
        "second/a": "build",
        "third/a": "failed",
        "second/b": "failed",
        "third/b": "skipped",
        "toy/c": "build",
        "second/c": "build",
        "third/c": "build",
    }
    messages = [item.error.message for item in results if item.error]
    free = f"of disk below {folder}, 10 GiB are free"
    assert messages == [
        f"a (third) needs 6 GiB {free}, and 5 GiB of them go to what is made before",
        f"b (second) needs 11 GiB {free}",
    ]
    assert "toy/b" not in behaviour.order


def test_an_order_is_carried_out_in_another_process(session: Session, behaviour: toys.Behaviour) -> None:
    """It makes all that it needs of the order, and what it does is told here; so is a failure."""
    watcher = Watcher()
    session = dataclasses.replace(session, progress=watcher)
    wanted = [TargetId("second", "a")]
    graph = session.resolver.graph(images(session, "a").images, wanted)
    verdicts = judge(graph, wanted, session.last, session.missing)
    results = drive(session, graph, verdicts, hire=Elsewhere)
    assert told(results) == {"toy/a": "build", "second/a": "build"}
    assert behaviour.order == []  # of this process
    report = session.last(wanted[0])
    assert report is not None
    assert report.status == "passed"
    assert [words[:2] for words in watcher.heard if words[0] in ("phase", "done")] == [
        *(("phase", "a (toy)"), ("phase", "a (toy)"), ("done", "a (toy)")),
        *(("phase", "a (second)"), ("phase", "a (second)"), ("done", "a (second)")),
    ]
    assert [words[2].name for words in watcher.heard if words[0] == "test_done"] == ["runs", "whole"] * 2


def test_a_stop_reaches_a_worker_in_another_process(session: Session, behaviour: toys.Behaviour) -> None:
    wanted = [TargetId("toy", "a")]
    graph = session.resolver.graph(images(session, "a").images, wanted)
    verdicts = judge(graph, wanted, session.last, session.missing)
    with session.record(wanted[0]).if_free() as held:  # which the worker waits for
        assert held
        session = dataclasses.replace(session, progress=Watcher(lambda *words: session.stop.now()))
        with pytest.raises(Stopped) as stopped:
            drive(session, graph, verdicts, hire=Elsewhere)
    assert stopped.value.finished == ()
    assert session.last(wanted[0]) is None


def test_a_mistake_of_one_worker_ends_no_other(
    session: Session, behaviour: toys.Behaviour, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mistake in fetching one image's inputs is a failure of that image alone."""

    def fetched(self: toys.Toy, target: Target) -> Lock | None:
        return target.spec.lock if str(target.id) == "toy/a" else None

    def mistaken(kind: str, file: LockedFile, *words: Any) -> str:
        raise ZeroDivisionError

    def makes(job: Job) -> bytes:
        while "a (toy)" not in (words[1] for words in watcher.heard if words[0] == "done"):
            time.sleep(0.01)
        job.stop.check()
        return b"data"

    watcher = Watcher()
    behaviour.makes = makes
    monkeypatch.setattr(toys.Toy, "inputs", fetched)
    monkeypatch.setattr("imagefactory.drive.fetching._fetch_one", mistaken)
    results = build(dataclasses.replace(session, progress=watcher), "a", "b", kinds=("toy",))
    assert told(results) == {"toy/a": "failed", "toy/b": "build"}
    assert not session.stop


def test_settings_that_a_worker_cannot_read_are_a_failure_of_what_it_makes(session: Session) -> None:
    (session.workspace.root / "site.yaml").write_text("store: [")
    results = build(session, "a", kinds=("second",))
    assert told(results) == {"toy/a": "failed", "second/a": "skipped"}
    assert isinstance(results[0].error, BadFiles)


def test_an_interrupt_ends_all_and_loses_nothing(session: Session, behaviour: toys.Behaviour) -> None:
    def makes(job: Job) -> bytes:
        if str(job.target.id) == "second/a":
            session.stop.now()
        job.stop.check()
        return b"data"

    behaviour.makes = makes
    with pytest.raises(Stopped) as stopped:
        build(session, "a")
    assert told(list(stopped.value.finished)) == {"toy/a": "build"}  # which the command shows
    assert behaviour.order == ["toy/a", "second/a"]
    assert not list(session.workspace.build.rglob("scratch"))
    assert session.last(TargetId("toy", "a"))
    assert session.last(TargetId("second", "a")) is None


def test_a_missing_engine_is_told_before_anything_is_made(
    session: Session, behaviour: toys.Behaviour, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(self: toys.Third) -> dict[str, str]:
        raise EngineError("third is not installed")

    monkeypatch.setattr(toys.Third, "engines", missing)
    with pytest.raises(EngineError):
        build(session, "a")
    assert behaviour.order == []


def test_tests_run_again_on_what_is_there(session: Session, behaviour: toys.Behaviour) -> None:
    build(session, "a", "b")
    (session.workspace.build / "b" / "b.third").unlink()
    behaviour.fails = {"second/a": "it broke"}
    results = run_tests_of(session, images(session, "a", "b", "c").images)
    assert told(results) == {
        "/c": "failed",
        "toy/a": "test",
        "second/a": "failed",
        "third/a": "skipped",
        "toy/b": "test",
        "second/b": "test",
        "third/b": "failed",
    }
    messages = [item.error.message for item in results if item.error]
    assert messages == [
        "c: it is not built, so it cannot be tested",
        "a (second): contract test whole: it broke",
        "b (third) can't be tested: it is gone",
    ]
    report = session.last(TargetId("second", "a"))
    assert report is not None
    assert report.status == "failed"
    assert len(session.record(TargetId("second", "a")).history().reports) == 1


@pytest.mark.parametrize(
    "error",
    [
        BuildFailed("it broke", hint="mend it", step="install.sh", tail=["a", "b"], log=Path("build.log")),
        DiskFull("it is full", hint="free some"),
        EngineError("it is gone"),
        BadFiles([Problem("recipe.yaml", 3, 1, "a mistake"), Problem("recipe.yaml", 1, 2, "another")]),
    ],
)
def test_results_can_be_sent_with_their_errors(error: FactoryError) -> None:
    sent = pickle.loads(pickle.dumps(Result("a", "failed", 1.0, error=error, kind="toy"))).error
    assert type(sent) is type(error)
    assert (str(sent), vars(sent)) == (str(error), vars(error))


def test_orders_can_be_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that real targets are made of."""
    monkeypatch.setattr(register, "_LINES", REAL)
    for kind in ("base", "oci", "sif"):
        made = target(kind, None if kind == "base" else spec(image=everything()))
        run = Run(Path("/somewhere"), lines=tuple(REAL))
        order = Order(run, made, (target("base"),), "build", ("it was never made here",), handover=True)
        assert pickle.loads(pickle.dumps(order)) == order


def test_how_memory_was_bounded_is_reported(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    record = session.record(TargetId("toy", "a"))

    def reported() -> MemoryReport | None:
        last = record.read()
        assert last
        return last.memory

    build(session, "a")
    assert reported() is None
    each = MemoryReport(how="bounded for each process by itself", together=False)
    monkeypatch.setattr(toys.Quiet, "memory", each, raising=False)
    run_tests_of(session, images(session, "a").images)
    assert reported() == each
    assert "== testing: memory is bounded for each process by itself\n" in record.log_file.read_text()
    every = MemoryReport(how="bounded for all processes together", together=True)
    monkeypatch.setattr(toys.Quiet, "memory", every, raising=False)
    run_tests_of(session, images(session, "a").images)
    assert reported() == every
    assert "testing: memory" not in record.log_file.read_text()


def test_what_is_tested_is_compared_with_what_it_was_made_of(
    session: Session, behaviour: toys.Behaviour, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the recipe has moved on since; but not with what was made anew meanwhile."""
    asked: list[dict[str, str]] = []

    def tests(self: toys.Toy, job: Job, subject: toys.Quiet) -> Iterator[TestReport]:
        asked.append({kind: kept.report.digest for kind, kept in job.needs.items()})
        return iter(())

    build(session, "a")
    monkeypatch.setattr(toys.Toy, "tests", tests)
    recipe = session.workspace.recipes / "a" / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace('version: "1.0"', 'version: "1.1"'))
    run_tests_of(session, images(session, "a").images)
    assert asked == [{}, {"toy": "sha256:64617461"}, {"second": "sha256:64617461"}]
    record = session.record(TargetId("toy", "a"))
    last = record.read()
    assert last
    record.write(last.model_copy(update={"digest": "sha256:other"}))
    asked.clear()
    run_tests_of(session, images(session, "a").images)
    assert asked == [{}, {}, {"second": "sha256:64617461"}]


def test_a_plan_says_what_a_build_then_does(session: Session) -> None:
    selected = images(session, "a", "b")
    plans = {str(item.id): item.verdict.action for item in plan_targets(session, selected.images, ())[0]}
    assert plans == {f"{kind}/{name}": "build" for name in "ab" for kind in KINDS}
    assert told(build(session, "a", "b")) == plans
    again, _ = plan_targets(session, selected.images, ["debian-12"])
    assert str(again[0].id) == "base/debian-12"
    assert {item.verdict.action for item in again[1:]} == {"nothing"}


def test_what_a_build_would_make_or_test_again_is_stale(session: Session, root: Workspace) -> None:
    def stale() -> dict[str, tuple[str, ...]]:
        fresh = dataclasses.replace(session)
        return {str(id): reasons for id, reasons in stale_targets(fresh, images(session).images).items()}

    build(session, "a", "b", kinds=("toy", "second"))
    assert stale() == {}
    recipe = root.recipes / "a" / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace('version: "1.0"', 'version: "1.1"'))
    assert {id: reasons[0] for id, reasons in stale().items()} == {
        "toy/a": "version 1.0 → 1.1",
        "second/a": "version 1.0 → 1.1",
    }


def test_the_rendered_files_of_all_kinds_are_kept_for_people(session: Session) -> None:
    build(session, "a", kinds=("toy",))
    context = session.home("a").context
    assert sorted(path.name for path in context.iterdir()) == [
        *(".imagefactory", "second.txt", "third.txt", "toy.txt")
    ]
