"""What belongs to a bundle: exactly what its images are built from, no less and no more."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from imagefactory.definitions.bases import base_standing
from imagefactory.definitions.recipes import PARTS, load_images
from imagefactory.errors import BadInput
from imagefactory.locks import base_lock_file, fetched_file, lock_file
from imagefactory.locks.states import LockState
from imagefactory.model.lock import Lock
from imagefactory.model.report import Report
from imagefactory.model.spec import ImageDefinition
from imagefactory.model.target import Target
from imagefactory.plan import Resolver, targets_of_base
from imagefactory.system.files import marked
from imagefactory.system.records import home_of, record_of
from imagefactory.system.workspace import Workspace
from imagefactory.targets.kind import Carried, Kept
from imagefactory.targets.register import Kinds

FORMAT = 1
PROJECT = "pyproject.toml"
STORE = "store"
_LONG = 10.0**7  # seconds
_BESIDE = ("files", "tests", "icons")


class Unfit(BadInput):
    """Images that cannot be in a bundle as they are; the message says why."""


class OtherVersion(Unfit):
    """What was made of other ingredients than this version makes it of."""


@dataclass(frozen=True)
class Contents:
    """``files`` and what is ``rendered``, by their names in the bundle; of the store by sha256 what is built
    from (``inputs``) and what tests read (``data``), which may be left out; and what git tells.
    """

    files: dict[str, Path]
    rendered: dict[str, bytes]
    inputs: frozenset[str]
    data: frozenset[str]
    standing: dict[str, dict[str, str | int]]


def contents_of(
    workspace: Workspace, resolver: Resolver, kinds: Kinds, images: Sequence[ImageDefinition]
) -> Contents:
    """What belongs to the bundle of images. Their base images' files are read and checked.

    Raises Unfit, BadFiles, or BuildFailed.
    """
    # A recipe is read as a whole, whichever of its images are meant.
    family = load_images(workspace, sorted({image.recipe for image in images}))
    files: dict[str, Path] = {}

    def add(*paths: Path) -> None:
        files.update((str(path.relative_to(workspace.root)), path) for path in paths)

    if (workspace.root / PROJECT).is_file() and workspace.source:
        add(workspace.root / PROJECT)
    for name in sorted({image.base for image in family}):
        lock = base_lock_file(workspace, name)
        add(workspace.bases / f"{name}.yaml", *([lock] if lock.is_file() else []))
    locks: list[Lock] = []
    for name in sorted({image.base for image in images}):
        locks.append(_good(name, resolver.base(name).state))
        add(*_made(workspace, resolver, kinds, name))
    add(*_written(workspace, images, family))
    rendered: dict[str, bytes] = {}
    for image in images:
        if resolver.problems(image):
            raise Unfit(f"{image.id}: {resolver.problems(image)[0]}")
        locks.append(_good(image.id, resolver.image(image).state))
        context = home_of(workspace, image.id).context.relative_to(workspace.root)
        rendered |= {f"{context}/{file.path}": file.data for file in marked(resolver.render(image))}
    return Contents(
        files,
        rendered,
        frozenset(file.sha256 for lock in locks for _, file in lock.files()),
        frozenset(data.sha256 for image in images for data in image.test_data.values()),
        _standing(workspace, family),
    )


def _standing(workspace: Workspace, family: Sequence[ImageDefinition]) -> dict[str, dict[str, str | int]]:
    known = {f"recipes/{i.recipe}/recipe.yaml": (i.folder.revision, i.folder.epoch) for i in family}
    for name in {image.base for image in family}:
        last = base_standing(workspace, name)
        known[f"base_images/{name}.yaml"] = (last.revision, last.epoch)
    return {key: {"revision": r, "epoch": e} for key, (r, e) in sorted(known.items())}


def _written(
    workspace: Workspace, images: Sequence[ImageDefinition], family: Sequence[ImageDefinition]
) -> Iterator[Path]:
    """What people wrote, and what locking wrote beside it."""
    for recipe in sorted({image.recipe for image in images}):
        folder = workspace.recipes / recipe
        yield from (folder / "recipe.yaml", folder / "install.sh", lock_file(workspace, recipe))
        more = (fetched_file(workspace, recipe), folder / "README.md")
        yield from (file for file in more if file.is_file())
        yield from (file for name in _BESIDE for file in _tree(folder / name))
    for part in sorted({part for image in family for part in image.parts}):
        yield from _tree(workspace.recipes / PARTS / part)


def _made(workspace: Workspace, resolver: Resolver, kinds: Kinds, name: str) -> Iterator[Path]:
    """The reports of a base image, and what was made and kept as files.

    An upstream image is laid out in no time, of files that are in the bundle already.
    """
    if resolver.base(name).definition.upstream:
        return
    wanted = targets_of_base(name)
    graph = resolver.graph((), wanted)
    for id in wanted:
        target, record = graph[id], record_of(workspace, id)
        kind, report = kinds.of(target), record.read()
        if not isinstance(target, Target) or not isinstance(kind, Carried):
            continue
        if report is None:
            raise OtherVersion(f"the report of base image {name} cannot be read, or is not there")
        if report.input_digest != target.input_digest:
            raise OtherVersion(f"its base image {name} is made of other ingredients, or in another way")
        if not _is_of(report, target):
            raise Unfit(f"the report of base image {name} is not as imagefactory writes it")
        yield record.report_file
        yield from kind.carried(Kept(report, record, kind, target))


def _is_of(report: Report, target: Target) -> bool:
    """Whether a report says nothing about a target that passed but what is so, where that can be told."""
    spec = target.spec
    known = Report(
        kind=target.id.kind,
        id=target.id.name,
        title=spec.title,
        version="",
        status="passed",
        file=report.file,
        input_digest=target.input_digest,
        tests_digest=target.tests_digest,
        digest=report.digest,
        bytes=report.bytes,
        built=report.built,
        seconds=report.seconds,
        steps=report.steps,
        tests=(),
        engines=report.engines,
        stand_ins=spec.lock.stand_ins,
        ingredients=dict(target.ingredients),
    )
    words = (*report.engines, *report.engines.values(), *(step.name for step in report.steps))
    seconds = (report.seconds, *(step.seconds for step in report.steps))
    return (
        report.model_dump() == known.model_dump()
        and all(map(str.isprintable, words))
        and all(0 <= each < _LONG for each in seconds)
        and re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", report.built) is not None
    )


def _good(name: str, state: LockState) -> Lock:
    if state.good is None:
        raise Unfit(f"{name}: {state.reason}")
    return state.good


def _tree(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
