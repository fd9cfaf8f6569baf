"""Lock files, what makes a lock stale, and what a new one changes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from imagefactory.definitions.bases import host_platform, load_base
from imagefactory.definitions.recipes import load_images
from imagefactory.errors import BadFiles, BadInput
from imagefactory.locks import base_request, changes, image_request, lock_file, read_locks, write_locks
from imagefactory.locks.states import base_lock_state, image_lock_state
from imagefactory.model.lock import Lock, StageLock
from imagefactory.model.recipe import Conda, Inputs, Pip, SmokeTest
from imagefactory.model.settings import SiteFile
from imagefactory.model.spec import ImageDefinition
from imagefactory.system.site import Site
from imagefactory.system.workspace import Workspace
from tests.unit.samples import (
    ARCHIVE,
    CONDA,
    PIP,
    RECIPE,
    REPOSITORY,
    STAGE,
    apt_file,
    base_lock,
    conda_file,
    definition,
    everything,
    folder,
    image,
    lock,
    lock_all,
    made_up_lock,
    pip_file,
    source_file,
)

Make = Callable[..., Workspace]
HERE = "linux/amd64"


@pytest.fixture
def root(workspace: Make) -> Workspace:
    return workspace(RECIPE)


def written(root: Workspace, **locks: Lock) -> str:
    file = lock_file(root, "app")
    write_locks(file, {name.replace("_", "-"): each for name, each in locks.items()}, HERE)
    return file.read_text(encoding="utf-8")


def read(root: Workspace, platform: str = HERE) -> dict[str, Lock]:
    return read_locks(root, lock_file(root, "app"), platform)


def test_a_lock_comes_back_as_it_was_written(root: Workspace) -> None:
    assert read(root) == {}
    whole = made_up_lock(everything())
    written(root, app=whole)
    assert read(root) == {"app": whole}
    assert read(root)["app"].digest == whole.digest
    assert read(root, "linux/arm64") == {}


def test_the_same_locks_give_the_same_bytes(root: Workspace) -> None:
    file = lock_file(root, "app")
    one, two = made_up_lock(everything()), made_up_lock(image())
    assert write_locks(file, {"app": one, "app-b": two}, HERE)
    before = file.read_bytes(), file.stat().st_mtime_ns
    assert not write_locks(file, {"app-b": two, "app": one}, HERE)
    assert not write_locks(file, read(root), HERE)
    assert (file.read_bytes(), file.stat().st_mtime_ns) == before


def test_the_file_has_one_line_for_each_input(root: Workspace) -> None:
    ours = lock(image={"apt": (apt_file(), apt_file("vim", "2:9.0-1")), "conda": (conda_file(),)})
    lines = written(root, app=ours).splitlines()
    assert lines[0].startswith("# Written by imagefactory lock")
    assert lines[1:6] == [
        "schema_version: 1",
        "images:",
        f"  - {{name: app, platform: linux/amd64, request: {ours.request}}}",
        "apt:",
        (
            "  - {name: hello, version: 2.10-3, archive: debian, "
            "file: pool/main/h/hello/hello_2.10-3_amd64.deb, "
            f"bytes: 1000, sha256: {apt_file().sha256}, used_by: [app]}}"
        ),
    ]
    assert lines[7:] == [
        "conda:",
        (
            "  - {name: fermitools, version: 2.5.1, build: h0_1, channel: conda-forge, "
            f"file: linux-64/fermitools-2.5.1-h0_1.conda, bytes: 3000, sha256: {conda_file().sha256}, "
            "used_by: [app]}"
        ),
    ]


@pytest.mark.parametrize(
    "text", ["1.10", "1e5", "0x10", "no", "null", "1:30", "2024-05-01", "=1", "~", "'a: #b'"]
)
def test_a_version_stays_a_text(root: Workspace, text: str) -> None:
    ours = lock(image={"pip": (pip_file(version=text, file="numpy/numpy.whl"),)})
    written(root, app=ours)
    assert read(root) == {"app": ours}


def test_a_stand_in_stays_one(root: Workspace) -> None:
    ours = lock(image={"apt": (apt_file(stand_in=True), apt_file("gcc"))})
    assert "stand_in: true" in written(root, app=ours)
    assert read(root)["app"].stand_ins == ("hello",)


def test_images_of_one_recipe_share_their_lines(root: Workspace) -> None:
    common, other = apt_file(), apt_file("gcc")
    locks = {
        "app_a": lock(image={"apt": (common,)}),
        "app_b": lock(image={"apt": (common,)}, build={"apt": (other,)}, tools={"apt": (common,)}),
        "app_c": lock(image={"apt": (other,)}),
    }
    text = written(root, **locks)
    assert text.count(f"sha256: {common.sha256}") == text.count(f"sha256: {other.sha256}") == 1
    assert "used_by: [app-a, app-b, app-b/tools]" in text
    assert "used_by: [app-b/build, app-c]" in text
    assert read(root) == {name.replace("_", "-"): each for name, each in locks.items()}


def test_one_name_may_stand_there_in_two_versions(root: Workspace) -> None:
    ours = lock(image={"apt": (apt_file(version="1"),)}, build={"apt": (apt_file(version="2"),)})
    written(root, app=ours)
    assert read(root) == {"app": ours}


GOOD = {"name": "hello", "version": "1", "archive": "debian", "file": "a/b", "bytes": "1", "sha256": "a" * 64}


def row(**changes: str) -> str:
    fields = ", ".join(f"{k}: {v}" for k, v in {**GOOD, "used_by": "[app]", **changes}.items() if v)
    return f"schema_version: 1\nimages: []\napt:\n  - {{{fields}}}\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "1:1: the file is empty"),
        ("schema_version: 2\n", "1:17: schema_version: expected 1, found 2"),
        ("schema_version: 1\nimagse: []\n", "2:1: unknown key 'imagse', did you mean 'images'?"),
        (
            row(sha256="abc"),
            "4:79: apt[0].sha256: expected a sha256: 64 digits and letters from a to f, found 'abc'",
        ),
        (row(sha256=""), "4:5: the key 'sha256' is missing"),
        (row(file="../x"), "4:56: apt[0].file: must be a relative path that stays inside its folder"),
        (row(bytes="-1"), "4:68: apt[0].bytes: must be 0 or more, found -1"),
        (row(version="1.0"), '4:28: apt[0].version: YAML reads 1.0 as a number: write "1.0"'),
        (row(used_by="[]"), "4:154: apt[0].used_by: must not be empty"),
        (
            row(used_by="[app/other]"),
            (
                "4:155: apt[0].used_by[0]: expected an image, or one with its stage as app/build, "
                "found 'app/other'"
            ),
        ),
        (f"<<<<<<< ours\n{row()}", "2:15: not valid YAML: "),
    ],
)
def test_a_broken_lock_is_told_by_its_place(root: Workspace, text: str, problem: str) -> None:
    lock_file(root, "app").write_text(text.replace("version: 1,", 'version: "1",'))
    with pytest.raises(BadFiles) as caught:
        read(root)
    (found,) = caught.value.problems
    assert str(found).startswith(f"recipes/app/lock.yaml:{problem}")
    assert caught.value.hint == "mend it, or remove it and run imagefactory lock app"


def test_a_broken_lock_of_a_base_image_names_that(root: Workspace, imagefactory: Any) -> None:
    (root.bases / "debian-12.lock.yaml").write_text("schema_version: 1\nfoo: 1\n")
    status, _, err = imagefactory("--root", root.root, "plan", "app")
    assert status == 2
    assert err.splitlines() == [
        (
            "base_images/debian-12.lock.yaml:2:1: unknown key 'foo', "
            "known here: schema_version, images, apt, pip, conda, sources, blobs, held"
        ),
        "1 problem",
        "  → mend it, or remove it and run imagefactory lock debian-12",
    ]


# What makes a lock stale


def request(of: ImageDefinition | None = None, site: Site | None = None, **changes: Any) -> str:
    base, ours = changes.get("base", definition()), changes.get("lock", base_lock())
    return image_request(of or image(), base, ours, site or Site())


def rehearsing(address: str, **more: str) -> Site:
    settings = {"stand_ins": {address: {"url": "https://other.example.org/x", **more}}}
    return Site(SiteFile.model_validate(settings))


MIRRORED = ARCHIVE.model_copy(update={"mirrors": ("https://mirror.example.org/app-1.0.tar.gz",)})
INDEX = PIP.indexes["wheels"]

ASKED: dict[str, ImageDefinition] = {
    "nothing": image(inputs=Inputs()),
    "another package": image(inputs=Inputs(apt=("hello", "cowsay"))),
    "a source": image(inputs=Inputs(apt=("hello",), sources={"app": ARCHIVE})),
    "a source by another name": image(inputs=Inputs(apt=("hello",), sources={"other": ARCHIVE})),
    "a repository": image(inputs=Inputs(apt=("hello",), sources={"app": REPOSITORY})),
    "another commit": image(
        inputs=Inputs(apt=("hello",), sources={"app": REPOSITORY.model_copy(update={"commit": "0" * 40})})
    ),
    "pip": image(inputs=Inputs(apt=("hello",), pip=PIP)),
    "a constraint": image(
        inputs=Inputs(apt=("hello",), pip=PIP.model_copy(update={"constraints": ("numpy<2",)}))
    ),
    "no index": image(inputs=Inputs(apt=("hello",), pip=PIP.model_copy(update={"indexes": {}}))),
    "conda": image(inputs=Inputs(apt=("hello",), conda=CONDA)),
    "channels in another order": image(
        inputs=Inputs(apt=("hello",), conda=CONDA.model_copy(update={"channels": CONDA.channels[::-1]}))
    ),
    "a build stage": image(build=STAGE),
}


def test_a_lock_is_stale_when_something_else_is_asked_for() -> None:
    requests = [request(), *map(request, ASKED.values())]
    assert len(set(requests)) == len(ASKED) + 1


def test_a_lock_is_stale_when_its_base_image_is_another() -> None:
    newer = lock(image={"apt": (*base_lock().image.apt, apt_file("gcc"))})
    arm = dataclasses.replace(definition(), platform="linux/arm64")
    assert len({request(), request(lock=newer), request(base=arm)}) == 3
    # Only its packages count.
    assert request(lock=base_lock(request="9" * 64)) == request()


@pytest.mark.parametrize(
    "same",
    [
        image(title="Another", version="2.0", summary="", licence="BSD-3-Clause"),
        image(environment={}, path=(), commands=("other",), home_folders=(".app",)),
        image(tests=(SmokeTest(name="other", command=("other",)),)),
        image(folder=folder(install=b"true\n", revision="0" * 40, epoch=1)),
    ],
)
def test_a_lock_stays_good_when_nothing_else_is_asked_for(same: ImageDefinition) -> None:
    assert request(same) == request()


def test_where_the_same_is_found_too_makes_no_lock_stale() -> None:
    plain = image(inputs=Inputs(sources={"app": ARCHIVE}), build=STAGE)
    sources = {**STAGE.inputs.sources, "app": MIRRORED}
    mirrored = image(
        inputs=Inputs(sources={"app": MIRRORED}),
        build=STAGE.model_copy(update={"inputs": STAGE.inputs.model_copy(update={"sources": sources})}),
    )
    assert request(plain) == request(mirrored)
    mirrors = SiteFile.model_validate({"mirrors": {"https://example.org": "https://mirror.example.org"}})
    assert request(plain, Site(mirrors)) == request(plain)


@pytest.mark.parametrize(
    ("which", "address"),
    [
        (image(inputs=Inputs(sources={"app": ARCHIVE})), ARCHIVE.address),
        (image(inputs=Inputs(sources={"app": ARCHIVE})), "https://example.org"),
        (image(build=STAGE), REPOSITORY.address),
        (image(inputs=Inputs(conda=CONDA)), "https://conda.example.org/lab"),
        (image(inputs=Inputs(pip=PIP)), INDEX.url),
    ],
)
def test_a_stand_in_for_what_is_asked_for_makes_a_lock_stale(which: ImageDefinition, address: str) -> None:
    plain, stood_in = request(which), request(which, rehearsing(address))
    assert plain != stood_in
    assert request(which, rehearsing(address, sha256="0" * 64)) not in (plain, stood_in)
    assert request(which, rehearsing("https://elsewhere.example.org")) == plain
    assert request(image(), rehearsing(address)) == request()


@pytest.mark.parametrize(
    ("changed", "stale"),
    [
        (definition(packages=("gcc",)), True),
        (definition(suite="trixie"), True),
        (dataclasses.replace(definition(), platform="linux/arm64"), True),
        (definition(title="Another", published="debian:12"), False),
        (dataclasses.replace(definition(), epoch=1), False),
    ],
)
def test_what_makes_the_lock_of_a_base_image_stale(changed: Any, stale: bool) -> None:
    assert (base_request(changed) != base_request(definition())) is stale


def states(root: Workspace, site: Site | None = None) -> tuple[str, str]:
    """Why the base image and the image must be locked."""
    (ours,), base = load_images(root, ["app"]), load_base(root, "debian-12")
    site = site or Site()
    return base_lock_state(root, base, site).reason, image_lock_state(root, ours, base, site).reason


def test_the_state_of_a_lock_is_told(root: Workspace) -> None:
    assert states(root) == ("base image debian-12 is not locked yet",) * 2
    lock_all(root)
    assert states(root) == ("", "")
    file = root.bases / "debian-12.yaml"
    file.write_text(file.read_text() + "packages: [gcc]\n")
    assert states(root) == ("base image debian-12 changed since it was locked",) * 2


def test_the_old_lock_is_kept_at_hand_for_its_versions(root: Workspace) -> None:
    lock_all(root)
    (root.recipes / "app" / "recipe.yaml").write_text(RECIPE.replace("[hello]\ncommands", "[bc]\ncommands"))
    (ours,), base = load_images(root, ["app"]), load_base(root, "debian-12")
    state = image_lock_state(root, ours, base, Site())
    assert state.good is None
    assert state.lock
    assert [file.name for file in state.lock.image.apt] == ["hello"]


def test_what_is_locked_with_stand_ins_is_good_for_rehearsals_only(root: Workspace) -> None:
    base = load_base(root, "debian-12")
    ours = lock(request=base_request(base), image={"apt": (apt_file("dash", stand_in=True),)})
    write_locks(root.bases / "debian-12.lock.yaml", {"debian-12": ours}, host_platform())
    assert states(root)[0] == "base image debian-12 is locked with stand-ins"
    assert states(root, rehearsing("https://archive.example.org"))[0] == ""


# What a new lock changes


def told(old: Lock | None, new: Lock) -> list[str]:
    return [str(change) for change in changes(old, new)]


def test_changes_are_told_by_name() -> None:
    old = lock(image={"apt": (apt_file("bc"), apt_file("hello", "2.10-3"), apt_file("vim", "2:9.0-1"))})
    new = lock(
        image={"apt": (apt_file("hello", "2.12-1"), apt_file("vim", "2:9.0-1"))},
        build={"sources": (source_file(),)},
    )
    assert told(None, lock()) == []
    assert told(old, old) == []
    assert told(old, new) == ["+ app 1.0", "- bc 2.10-3", "hello 2.10-3 → 2.12-1"]
    assert told(None, new) == ["+ app 1.0", "+ hello 2.12-1", "+ vim 2:9.0-1"]


def test_another_build_of_the_same_version_is_told() -> None:
    old, new = (
        lock(image={"conda": (conda_file(build=b, sha256=s * 64),)})
        for b, s in (("h0_1", "1"), ("h0_2", "2"))
    )
    assert told(old, new) == ["fermitools 2.5.1 h0_1 → 2.5.1 h0_2"]


def test_the_same_version_packed_anew_is_told_by_its_digest() -> None:
    old, new = (lock(image={"apt": (apt_file(sha256=s * 64),)}) for s in "12")
    assert told(old, new) == ["hello 2.10-3 (sha256 11111111…) → 2.10-3 (sha256 22222222…)"]


def test_one_name_of_two_kinds_is_two_inputs() -> None:
    old = lock(image={"apt": (apt_file("numpy", "1"),), "pip": (pip_file("numpy", "1"),)})
    new = lock(image={"apt": (apt_file("numpy", "1"),), "pip": (pip_file("numpy", "2"),)})
    assert told(old, new) == ["numpy 1 → 2"]


def test_a_file_of_several_stages_is_told_once() -> None:
    new = lock(image={"apt": (apt_file(),)}, build={"apt": (apt_file(),)}, tools={"apt": (apt_file(),)})
    assert told(None, new) == ["+ hello 2.10-3"]
    assert [file.name for _, file in new.files()] == ["hello"]


def test_what_is_pinned_is_in_the_digest_of_a_lock() -> None:
    locks = [
        lock(),
        lock(image={"apt": (apt_file(),)}),
        lock(build={"apt": (apt_file(),)}),
        lock(image={"apt": (apt_file(sha256="0" * 64),)}),
        lock(image={"apt": (apt_file(), apt_file("gcc"))}),
    ]
    assert len({each.digest for each in locks}) == len(locks)
    assert lock(request="0" * 64).digest == lock(request="1" * 64).digest


def test_requirements_and_specs_are_data() -> None:
    for bad in ("numpy @ https://example.org/x.whl", "-r other.txt", "numpy >=", "a b"):
        with pytest.raises(ValueError, match=r"requirement|names an address"):
            Pip(packages=(bad,))
    for bad in ("--override-channels", "x; rm", "$(x)", "conda-forge::x", "X"):
        with pytest.raises(ValueError, match="a conda package with its version"):
            Conda(channels=("a",), packages=(bad,))


def test_the_lock_file_is_beside_its_recipe(root: Workspace) -> None:
    assert lock_file(root, "app") == Path(root.root / "recipes" / "app" / "lock.yaml")


def test_a_bad_requirement_is_told_in_one_line() -> None:
    with pytest.raises(ValidationError) as caught:
        Pip(packages=("numpy >> 1",))
    assert "\n" not in str(caught.value.errors()[0]["ctx"]["error"])


def test_a_large_lock_can_be_read_again(root: Workspace) -> None:
    files = tuple(apt_file(name=f"package-{n}", sha256=f"{n:064x}") for n in range(6000))
    lock = Lock(request="a" * 64, image=StageLock(apt=files))
    file = root.recipes / "app" / "lock.yaml"
    write_locks(file, {"app": lock}, "linux/amd64")
    assert len(read_locks(root, file, "linux/amd64")["app"].image.apt) == 6000


def test_locks_of_another_platform_are_not_overwritten(root: Workspace) -> None:
    file = root.recipes / "app" / "lock.yaml"
    write_locks(file, {"app": Lock(request="a" * 64)}, "linux/arm64")
    with pytest.raises(BadInput, match="is locked for linux/arm64, and this machine is linux/amd64"):
        write_locks(file, {"app": Lock(request="a" * 64)}, "linux/amd64")
    assert read_locks(root, file, "linux/amd64") == {}
