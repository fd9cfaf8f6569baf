"""The commands about inputs: bad words, and what they say where nothing is to be done."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imagefactory.locks import lock_file
from imagefactory.system.store import Store
from imagefactory.system.workspace import Workspace
from tests.unit.samples import RECIPE, apt_file, lock_all, named

Call = Callable[..., tuple[int, str, str]]
ASKS = 'terms: {policy: accept-first, url: "https://example.org/licence", note: not for sale}\n'


@pytest.fixture
def root(workspace: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """Two recipes, both locked; the second has a licence that must be accepted."""
    monkeypatch.setenv("IMAGEFACTORY_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    workspace(named(RECIPE, "asks") + ASKS, "asks")
    root: Workspace = workspace(RECIPE)
    lock_all(root)
    return root


@pytest.fixture
def call(root: Workspace, imagefactory: Call, monkeypatch: pytest.MonkeyPatch) -> Call:
    """The command line, with an engine in which nothing was ever left behind."""
    monkeypatch.setattr("imagefactory.drive.tasks.sweep", lambda session: None)
    return lambda *words: imagefactory("--root", root.root, *words)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("lock zzz", "no image, recipe or base image is called 'zzz'"),
        ("lock --check --upgrade", "--check changes nothing, so it cannot go with --upgrade"),
        ("lock --fast", "No such option"),
        ("fetch zzz", "no image, recipe or base image is called 'zzz'"),
        ("fetch asks", "asks: its licence is not accepted: https://example.org/licence (not for sale)"),
        ("build asks", "asks: its licence is not accepted: https://example.org/licence (not for sale)"),
        ("build --accept-licence", "requires an argument"),
        ("build --accept-licence app asks", "asks: its licence is not accepted"),
        ("bundle", "Missing argument 'NAME...'"),
        ("bundle zzz", "no image, recipe or base image is called 'zzz'"),
        ("bundle debian-12", "debian-12 is a base image: it goes with the images on it"),
        ("bundle asks", "asks: its licence is not accepted"),
        ("bundle --to / app", "is a directory"),
        ("unbundle", "Missing argument 'FILE'"),
        ("unbundle /nonexistent.tar", "does not exist"),
        ("unbundle /", "is a directory"),
        ("store", "Missing command"),
        ("store zzz", "No such command 'zzz'"),
        ("store prune --unused-for never", "is not a valid integer"),
        ("store prune --unused-for -1", "is not in the range"),
        ("store list zzz", "unexpected extra argument"),
    ],
)
def test_bad_words(call: Call, root: Workspace, words: str, complaint: str) -> None:
    before = sorted(root.root.rglob("*"))
    status, out, err = call(*shlex.split(words))
    assert (status, "Traceback" in out + err) == (2, False)
    assert complaint in err or (words == "store" and "Usage" in err), err
    assert sorted(root.root.rglob("*")) == before


def test_check_says_what_is_not_locked(call: Call, root: Workspace) -> None:
    assert call("lock", "--check") == (0, "all locked\n", "")
    assert call("lock", "--check", "--json") == (0, "[]\n", "")
    lock_file(root, "app").unlink()
    reason = "its inputs are not locked yet"
    assert call("lock", "--check") == (1, f"app: {reason}\n", "")
    assert call("lock", "--check", "asks") == (0, "all locked\n", "")
    status, out, _ = call("lock", "--check", "--json")
    assert (status, json.loads(out)) == (1, [{"id": "app", "reason": reason}])
    (root.bases / "debian-12.lock.yaml").unlink()
    gone = "base image debian-12 is not locked yet"
    assert call("lock", "--check", "app") == (1, f"debian-12: {gone}\napp: {gone}\n", "")
    assert call("lock", "--check", "debian-12") == (1, f"debian-12: {gone}\n", "")


def test_what_must_be_locked_is_not_locked_on_the_way(call: Call, root: Workspace) -> None:
    file = root.bases / "debian-12.lock.yaml"
    file.unlink()
    status, _, err = call("build", "--locked", "app")
    assert status == 2
    assert err.splitlines()[-2:] == [
        "error: debian-12: base image debian-12 is not locked yet",
        "  → run imagefactory lock debian-12, and commit what it writes",
    ]
    assert not file.exists()


def test_a_broken_lock_stops_a_build_at_once(call: Call, root: Workspace) -> None:
    lock_file(root, "app").write_text("schema_version: 1\nimages: 1\n")
    status, _, err = call("plan", "app")
    assert status == 2
    assert err.splitlines()[0] == "recipes/app/lock.yaml:2:9: images: expected a list, found 1"


@pytest.mark.parametrize("words", ["build", "build --locked", "lock"])
def test_a_lock_that_says_another_version_stops_everything(
    workspace: Any, call: Call, root: Workspace, words: str
) -> None:
    workspace(named(RECIPE, "hello"), "hello")  # which is locked in version 2.10
    lock_all(root)
    status, _, err = call(*words.split(), "hello")
    assert status == 2
    locked = "hello is locked in version 2.10-3: write version: {from: apt:hello}"
    assert err.splitlines()[-2:] == [
        f"recipes/hello/recipe.yaml:3:10: the version is '1.0', but {locked}",
        "1 problem",
    ]
    assert not (root.build / "debian-12" / "layout").exists()


@pytest.fixture
def store(root: Workspace, tmp_path: Path) -> Store:
    """A store with a damaged input of the first recipe, and one that nobody needs."""
    store = Store(tmp_path / "store")
    for sha256 in (apt_file().sha256, "0" * 64):
        with store.draft(sha256) as draft:
            draft.write_bytes(bytes(1500))
            store.take(draft, sha256)
    return store


def test_the_store_is_listed(call: Call, store: Store) -> None:
    status, out, _ = call("store", "list")
    assert status == 0
    (line,) = [line for line in out.splitlines() if line.startswith(apt_file().sha256[:12])]
    assert line.split()[1:3] == ["1.5", "kB"]
    assert line.endswith("hello 2.10-3  app, asks")
    assert out.splitlines()[-1] == f"{store.folder}: 2 files, 3 kB"
    found = json.loads(call("store", "list", "--json")[1])
    assert found["folder"] == str(store.folder)
    assert [(each["sha256"], each["bytes"], each["name"], each["for"]) for each in found["files"]] == [
        ("0" * 64, 1500, "", []),
        (apt_file().sha256, 1500, "hello 2.10-3", ["app", "asks"]),
    ]


def test_an_empty_store_is_no_failure(call: Call) -> None:
    assert call("store", "list")[0] == 0
    assert call("store", "verify")[:2] == (0, "0 files: none damaged\n")
    assert call("store", "prune")[:2] == (0, "removed 0 files, 0 B\n")


def test_damage_in_the_store_is_a_failure_once(call: Call, store: Store) -> None:
    status, out, err = call("store", "verify")
    assert (status, out) == (1, "2 files: 2 damaged\n")
    assert f"{apt_file().sha256}: damaged, and removed: the next fetch brings it again" in err.splitlines()
    assert call("store", "verify")[:2] == (0, "0 files: none damaged\n")


def test_the_store_is_pruned(call: Call, store: Store) -> None:
    assert call("store", "prune")[1] == "removed 0 files, 0 B\n"
    for stored in store.files():
        os.utime(stored.path, (1, 1))
    assert call("store", "prune", "--unused-for", "100000")[1] == "removed 0 files, 0 B\n"
    assert call("store", "prune")[1] == "removed 1 file, 1.5 kB\n"
    assert [stored.sha256 for stored in store.files()] == [apt_file().sha256]


def test_what_is_no_bundle_is_refused(call: Call, tmp_path: Path) -> None:
    file = tmp_path / "app.bundle.tar"
    file.write_text("not a bundle")
    status, _, err = call("unbundle", file, "--to", tmp_path / "new")
    assert status == 2
    assert err.startswith(f"error: {file} is no bundle, or a damaged one: ")
    assert not (tmp_path / "new").exists()


def test_show_says_who_may_have_the_image(call: Call) -> None:
    assert "to be accepted first, https://example.org/licence, not for sale" in call("show", "asks")[1]
    (shown,) = json.loads(call("show", "asks", "--json")[1])
    assert shown["terms"] == {
        "policy": "accept-first",
        "url": "https://example.org/licence",
        "note": "not for sale",
    }
    assert "terms" not in call("show", "app")[1]
