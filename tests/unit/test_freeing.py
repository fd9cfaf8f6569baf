"""What failed is kept for people to look at; what was replaced goes; what nobody needs can be freed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imagefactory.definitions.recipes import load_images
from imagefactory.drive.freeing import free, made_of, rubbish
from imagefactory.drive.result import Options
from imagefactory.drive.session import Run, Session, session_of
from imagefactory.drive.tasks import build_targets, enter_target
from imagefactory.drive.tasks import test_images as run_tests_of
from imagefactory.errors import BadInput, BuildFailed
from imagefactory.model.report import HeldReport, Report
from imagefactory.model.target import TargetId
from imagefactory.plan import Selection
from imagefactory.system.log import Silence
from imagefactory.system.processes import Stop
from imagefactory.system.workspace import Workspace
from imagefactory.targets import register
from tests.unit import toys
from tests.unit.samples import RECIPE, lock_all, named


@pytest.fixture(autouse=True)
def behaviour(monkeypatch: pytest.MonkeyPatch) -> toys.Behaviour:
    """Toys alone are in the register, whose files carry their version."""
    monkeypatch.setattr(register, "_LINES", [register.line("base"), *toys.LINES])
    monkeypatch.setattr(toys, "behaviour", toys.Behaviour(named_by_version=True))
    monkeypatch.setattr("imagefactory.drive.tasks.sweep", lambda session: None)
    return toys.behaviour


@pytest.fixture
def root(workspace: Callable[..., Workspace]) -> Workspace:
    """Two recipes that are locked."""
    workspace(named(RECIPE, "b"), "b")
    found = workspace(named(RECIPE, "a"), "a")
    lock_all(found)
    return found


def a_session(root: Workspace, **settings: Any) -> Session:
    """With these site settings, which workers read for themselves."""
    (root.root / "site.yaml").write_text(json.dumps({"store": str(root.root / "store"), **settings}))
    return session_of(Run(root.root), Silence(), Stop())


def build(root: Workspace, name: str = "a", **settings: Any) -> dict[str, str]:
    session = a_session(root, **settings)
    results = build_targets(
        session, Selection(tuple(load_images(root, [name]))), Options(), ["toy", "second"]
    )
    return {str(item.id): item.action for item in results}


def last(root: Workspace, kind: str = "second") -> Report:
    report = a_session(root).last(TargetId(kind, "a"))
    assert report
    return report


def edit(root: Workspace, old: str, new: str) -> None:
    file = root.recipes / "a" / "recipe.yaml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def shelf(root: Workspace, name: str = "a") -> list[str]:
    return sorted(path.name for path in (root.build / name).glob("*.*") if path.suffix in (".toy", ".second"))


def version(root: Workspace, new: str) -> None:
    old = load_images(root, ["a"])[0].version
    edit(root, f'version: "{old}"', f'version: "{new}"')


def test_what_a_newer_one_replaces_goes(root: Workspace) -> None:
    build(root)
    assert shelf(root) == ["a-1.0.second", "a-1.0.toy"]
    version(root, "1.1")
    build(root)
    assert shelf(root) == ["a-1.1.second", "a-1.1.toy"]
    version(root, "1.2")
    build(root, keep_replaced=True)
    assert shelf(root) == ["a-1.1.second", "a-1.1.toy", "a-1.2.second", "a-1.2.toy"]


def test_what_passed_stays_until_another_one_passes(root: Workspace, behaviour: toys.Behaviour) -> None:
    build(root)
    behaviour.fails = {"second/a": "it is not whole"}
    for number in (1, 2):
        version(root, f"1.{number}")
        assert build(root)["second/a"] == "failed"
        assert shelf(root) == ["a-1.0.second", f"a-1.{number}.toy"]
        assert last(root).candidate == HeldReport(file="second/failed", digest="sha256:64617461", bytes=4)
        assert last(root).earlier == HeldReport(file="a-1.0.second", digest="sha256:64617461", bytes=4)
    behaviour.fails = {}
    version(root, "1.3")
    build(root)
    assert shelf(root) == ["a-1.3.second", "a-1.3.toy"]
    assert (last(root).candidate, last(root).earlier) == (None, None)
    assert not (root.build / "a" / "second" / "failed").exists()


def test_what_somebody_uses_stays_and_is_no_failure(root: Workspace, behaviour: toys.Behaviour) -> None:
    build(root)
    behaviour.used = {"sha256:64617461"}
    version(root, "1.1")
    assert set(build(root).values()) == {"build"}
    assert "a-1.0.second stays: a container uses it" in (root.build / "a/second/build.log").read_text()


def test_a_candidate_that_failed_is_tested_and_gets_its_name(
    root: Workspace, behaviour: toys.Behaviour
) -> None:
    """Where only its tests were at fault; else it must be made again."""
    behaviour.fails = {"second/a": "it is not whole"}
    build(root)
    again = run_tests_of(a_session(root), load_images(root, ["a"]))
    assert {str(item.id): item.action for item in again} == {"toy/a": "test", "second/a": "failed"}
    assert last(root).candidate
    behaviour.fails = {}
    run_tests_of(a_session(root), load_images(root, ["a"]))
    assert (last(root).status, last(root).file, last(root).candidate) == ("passed", "a-1.0.second", None)
    assert shelf(root) == ["a-1.0.second", "a-1.0.toy"]
    assert set(build(root).values()) == {"nothing"}


def test_a_candidate_of_another_recipe_never_gets_a_name(root: Workspace, behaviour: toys.Behaviour) -> None:
    behaviour.fails = {"second/a": "it is not whole"}
    build(root)
    behaviour.fails = {}
    version(root, "1.1")
    run_tests_of(a_session(root), load_images(root, ["a"]))
    assert (last(root).kept, bool(last(root).candidate)) == (False, True)
    assert build(root) == {"toy/a": "build", "second/a": "build"}
    assert last(root).file == "a-1.1.second"


def test_a_shell_is_opened_in_what_failed_or_else_in_what_is_kept(
    root: Workspace, behaviour: toys.Behaviour
) -> None:
    (image,) = load_images(root, ["a"])
    with pytest.raises(BadInput, match="nothing of a is here"):
        enter_target(a_session(root), image, None)
    behaviour.fails = {"second/a": "it is not whole"}
    build(root)
    assert enter_target(a_session(root), image, None) == 5
    assert enter_target(a_session(root), image, "toy") == 5
    entered = [(Path(path).name, mounts) for path, mounts in behaviour.entered]
    assert entered == [("failed", ["/tests"]), ("a-1.0.toy", ["/tests"])]
    assert not list((root.build / "a").rglob(".*.draft"))


def told(items: list[Any]) -> dict[str, tuple[str, int]]:
    return {item.what: (item.why, item.bytes) for item in items}


def test_rubbish_is_what_failed_what_was_replaced_and_what_no_recipe_makes(
    root: Workspace, behaviour: toys.Behaviour
) -> None:
    build(root, "b")
    build(root)
    assert rubbish(a_session(root), {"a", "b", "debian-12"}) == []
    version(root, "1.1")
    behaviour.fails = {"second/a": "it is not whole"}
    build(root)
    (root.build / "a" / "a-0.9.second").write_bytes(b"older")
    session = a_session(root)
    found = rubbish(session, {"a", "debian-12"})
    assert told(found[:2]) == {
        "second toy build/a/second/failed": ("it failed its tests", 4),
        "build/a/a-0.9.second": ("it was replaced", 5),
    }
    assert [item.what for item in found[2:]] == [
        "second toy build/b/b-1.0.second",
        "toy build/b/b-1.0.toy",
        "build/b/, its reports and logs",
    ]
    assert {item.why for item in found[2:]} == {"no recipe makes it any more"}
    whole = sum(path.stat().st_size for path in (root.build / "b").rglob("*") if path.is_file())
    assert sum(item.bytes for item in found[2:]) == whole
    # Where a recipe can't be read, nobody knows what it makes.
    assert told(rubbish(session, None)) == told(found[:2])
    for item in found:
        free(session, item)
    assert sorted(path.name for path in root.build.iterdir() if path.is_dir()) == ["a"]
    assert shelf(root) == ["a-1.0.second", "a-1.1.toy"]
    assert (last(root).candidate, last(root).status) == (None, "failed")
    assert rubbish(session, {"a", "debian-12"}) == []


def test_all_that_was_made_of_an_image_can_be_freed(root: Workspace, behaviour: toys.Behaviour) -> None:
    build(root, "b")
    build(root)
    session = a_session(root)
    items = made_of(session, ["a"])
    assert [item.what for item in items] == [
        "second toy build/a/a-1.0.second",
        "toy build/a/a-1.0.toy",
        "build/a/, its reports and logs",
    ]
    behaviour.used = {"sha256:64617461"}
    with pytest.raises(BuildFailed, match="a container uses it"):
        free(session, items[0])
    assert last(root).kept
    behaviour.used = set()
    for item in items:
        free(session, item)
    assert not (root.build / "a").exists()
    assert shelf(root, "b") == ["b-1.0.second", "b-1.0.toy"]
    assert made_of(session, ["a"]) == []


def test_what_is_being_made_is_not_freed(root: Workspace) -> None:
    build(root)
    session = a_session(root)
    item = made_of(session, ["a"])[0]
    assert item.record
    with item.record.locked(lambda: None, Stop()), pytest.raises(BuildFailed, match="being made or used now"):
        free(session, item)
    assert shelf(root) == ["a-1.0.second", "a-1.0.toy"]
