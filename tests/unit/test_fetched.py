"""What only fetched sources tell: it is noted beside the lock, and changes neither that nor any image."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from imagefactory.drive.noting import note_fetched, untold
from imagefactory.errors import BadFiles, BuildFailed
from imagefactory.inputs.kinds import KINDS
from imagefactory.inputs.protocol import Wanted
from imagefactory.locks import (
    changes,
    fetched_file,
    lock_file,
    read_fetched,
    read_locks,
    write_fetched,
    write_locks,
)
from imagefactory.model.lock import FetchedFile, Lock, SourceFile
from imagefactory.model.recipe import Inputs
from imagefactory.model.settings import SiteFile
from imagefactory.system.site import Site
from imagefactory.system.store import Store
from imagefactory.system.workspace import Workspace
from imagefactory.targets.oci.stage import stage_inputs
from tests.unit.samples import (
    ARCHIVE,
    RECIPE,
    REPOSITORY,
    base_lock,
    definition,
    image,
    lock,
    source_file,
    spec,
    target,
)

HERE = "linux/amd64"
DATA = b"an archive"
SHA256 = hashlib.sha256(DATA).hexdigest()
HELD = ARCHIVE.model_copy(update={"sha256": SHA256})
OF_ARCHIVE = FetchedFile(bytes=len(DATA), sha256=SHA256)
OF_COMMIT = FetchedFile(commit=REPOSITORY.commit, bytes=20480, sha256="d" * 64)
LOCK = lock(image={"sources": (source_file("app", HELD), source_file("library", REPOSITORY))})
WHOLE = LOCK.with_sources(
    lambda source: source.model_copy(
        update={"bytes": 20480, "sha256": "d" * 64} if source.commit else {"bytes": len(DATA)}
    )
)


@pytest.fixture
def root(workspace: Any) -> Workspace:
    root: Workspace = workspace(RECIPE)
    write_locks(lock_file(root, "app"), {"app": LOCK}, HERE)
    return root


def read(root: Workspace) -> Lock:
    return read_locks(root, lock_file(root, "app"), HERE)["app"]


def locked(site: Site) -> dict[str, SourceFile]:
    """What locking two sources gives, without any way to ask anybody."""
    of = image(inputs=Inputs(sources={"app": HELD, "library": REPOSITORY}))
    refuse: Any = None
    wanted = Wanted(of, definition(), base_lock(), None, refuse, {})
    means: Any = SimpleNamespace(site=site)
    return {file.name: file for file in KINDS["sources"].lock(wanted, means)["image"]}


def test_a_source_is_locked_without_a_download() -> None:
    found = locked(Site())
    assert (found["app"].sha256, found["app"].commit, found["app"].bytes) == (SHA256, None, 0)
    assert (found["library"].sha256, found["library"].commit) == ("", REPOSITORY.commit)
    assert not any(file.stand_in for file in found.values())


def test_so_is_its_stand_in() -> None:
    stand_ins = {
        HELD.address: {"url": "https://other.example.org/x", "sha256": "e" * 64},
        REPOSITORY.address: {"url": "https://other.example.org/y", "commit": "e" * 40},
    }
    found = locked(Site(SiteFile.model_validate({"stand_ins": stand_ins})))
    assert (found["app"].pin, found["library"].pin) == ("e" * 64, "e" * 40)
    assert all(file.stand_in for file in found.values())


def test_the_lock_holds_only_what_pins_a_source(root: Workspace) -> None:
    lines = lock_file(root, "app").read_text().partition("sources:\n")[2].splitlines()
    assert lines == [
        f"  - {{name: app, version: '1.0', file: app-1.0.tar.gz, sha256: {SHA256}, used_by: [app]}}",
        (
            f"  - {{name: library, version: '1.0', commit: {REPOSITORY.commit}, file: library.git, "
            "used_by: [app]}"
        ),
    ]
    before = lock_file(root, "app").read_bytes()
    assert not write_locks(lock_file(root, "app"), {"app": WHOLE}, HERE)
    assert lock_file(root, "app").read_bytes() == before


def test_a_source_that_nothing_pins_is_refused(root: Workspace) -> None:
    file = lock_file(root, "app")
    file.write_text(file.read_text().replace(f"commit: {REPOSITORY.commit}, ", ""))
    with pytest.raises(BadFiles, match="a source needs a 'sha256' or a 'commit'"):
        read(root)


def test_what_is_known_comes_back_with_the_lock(root: Workspace) -> None:
    assert read(root) == LOCK
    write_fetched(fetched_file(root, "app"), [OF_COMMIT, OF_ARCHIVE])
    assert read(root) == WHOLE
    lines = fetched_file(root, "app").read_text().splitlines()
    assert lines[1:3] == ["schema_version: 1", "sources:"]
    assert set(lines[3:]) == {
        f"  - {{commit: {REPOSITORY.commit}, bytes: 20480, sha256: {'d' * 64}}}",
        f"  - {{bytes: {len(DATA)}, sha256: {SHA256}}}",
    }


def test_what_fetching_tells_changes_no_image() -> None:
    of = image(inputs=Inputs(sources={"app": HELD, "library": REPOSITORY}))
    before, after = (target("oci", spec(image=of, lock=each)) for each in (LOCK, WHOLE))
    assert before.input_digest == after.input_digest
    assert before.contents == after.contents
    assert (LOCK.content_digest, LOCK.digest) == (WHOLE.content_digest, WHOLE.digest)
    other = LOCK.with_sources(lambda source: source.model_copy(update={"commit": "9" * 40}))
    assert other.content_digest != LOCK.content_digest


def test_a_new_lock_of_what_was_fetched_tells_no_change() -> None:
    assert changes(WHOLE, LOCK) == changes(LOCK, WHOLE) == []
    assert [str(change) for change in changes(None, WHOLE)] == ["+ app 1.0", "+ library 1.0"]


def session(root: Workspace, store: Store) -> Any:
    return SimpleNamespace(workspace=root, store=store)


class Heard:
    """Remembers what people are told."""

    def __init__(self) -> None:
        self.phases: list[str] = []

    def phase(self, text: str) -> None:
        self.phases.append(text)


def stored(tmp_path: Path, *contents: bytes) -> Store:
    store = Store(tmp_path / "store")
    for data in contents:
        sha256 = hashlib.sha256(data).hexdigest()
        with store.draft(sha256) as draft:
            draft.write_bytes(data)
            store.take(draft, sha256)
    return store


def test_it_is_noted_once(root: Workspace, tmp_path: Path) -> None:
    tree = b"a tree"
    of_tree = hashlib.sha256(tree).hexdigest()
    store, heard = stored(tmp_path, DATA, tree), Heard()
    root.build.mkdir(exist_ok=True)
    ours, file = spec(lock=LOCK), fetched_file(root, "app")
    write_fetched(file, [FetchedFile(commit="9" * 40, bytes=1, sha256="9" * 64)])  # which nothing uses now
    log: Any = heard
    found = note_fetched(session(root, store), ours, LOCK, {str(REPOSITORY.commit): of_tree}, log)
    assert untold(LOCK)
    assert not untold(found)
    assert read(root) == found
    assert set(read_fetched(root, file)) == {SHA256, REPOSITORY.commit}
    assert {file.sha256 for _, file in found.files()} == {SHA256, of_tree}
    assert heard.phases == [
        f"noted in recipes/app/fetched.yaml, to be committed: size of archive {SHA256[:12]}",
        (
            "noted in recipes/app/fetched.yaml, to be committed: "
            f"sha256 of commit {str(REPOSITORY.commit)[:12]}"
        ),
    ]
    written = file.stat().st_mtime_ns
    assert note_fetched(session(root, store), ours, found, {}, log) == found
    assert file.stat().st_mtime_ns == written


def test_nothing_is_built_of_a_commit_that_is_not_fetched(tmp_path: Path) -> None:
    of = image(inputs=Inputs(sources={"library": REPOSITORY}))
    ours = spec(image=of, lock=lock(image={"sources": (source_file("library", REPOSITORY),)}))
    with pytest.raises(BuildFailed, match=r"app: the store lacks library 1\.0") as caught:
        stage_inputs(ours, tmp_path / "sources", stored(tmp_path, DATA))
    assert caught.value.hint == "run imagefactory fetch app"


def test_a_broken_file_says_what_to_do(root: Workspace) -> None:
    fetched_file(root, "app").write_text("schema_version: 1\nsources: 1\n")
    with pytest.raises(BadFiles) as caught:
        read(root)
    assert caught.value.hint == "mend it, or remove it: the next fetch writes it again"
