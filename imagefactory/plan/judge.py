"""Is an image up to date, and if not, why."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from imagefactory.model.report import Report
from imagefactory.model.spec import BuildContext, ImageDefinition
from imagefactory.testing.cluster import CLUSTER_VERSION
from imagefactory.testing.contract import CONTRACT_VERSION

Action = Literal["build", "test", "nothing"]

# Shown only when nothing else explains the change, for they follow from the others or from the factory.
_RENDERED = ("Dockerfile", "environment.sh", "home.sh", "entrypoint.sh")
_CONSEQUENCES = (*_RENDERED, "revision", "date")
_GENERATED = ("steps/", "download/")
_FILES = ("install.sh", "files/", *_GENERATED)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be done for an image, and the reasons, each a short text."""

    action: Action
    reasons: tuple[str, ...]


def judge(
    image: ImageDefinition,
    context: BuildContext,
    report: Report | None,
    exists: Callable[[str, str], bool],
) -> Verdict:
    """Compare the last report with what would be built now.

    ``exists`` tells whether an engine still has the image of a name and digest.
    """
    if report is None:
        return Verdict("build", ("it was never built here",))
    if report.input_digest != context.input_digest:
        return Verdict("build", tuple(explain(report.ingredients, context.ingredients)))
    if report.status == "failed":
        return Verdict("build", ("its tests failed last time",))
    if not exists(report.reference, report.image_digest):
        return Verdict("build", (f"the engine no longer has it as {report.reference}",))
    if report.tests_digest != tests_digest(image):
        return Verdict("test", ("its tests changed",))
    return Verdict("nothing", ("nothing changed since it was built and tested",))


def judge_sif(image: ImageDefinition, report: Report | None, converter: int, folder: Path) -> Verdict:
    """What is to be done for the SIF file of an image that is up to date itself, and why.

    ``converter`` is the version of what would make it; ``folder`` is where the file is.
    """
    sif = report.sif if report else None
    if report is None or sif is None:
        return Verdict("build", ("it was never made here",))
    if sif.made_from != report.image_digest:
        return Verdict(
            "build", (f"the image moved {_digest(sif.made_from)} → {_digest(report.image_digest)}",)
        )
    if sif.converter != converter:
        return Verdict("build", (f"SIF files are made in another way now ({sif.converter} → {converter})",))
    if sif.status == "failed":
        return Verdict("build", ("its tests failed last time",))
    file = folder / sif.file
    if not file.is_file() or file.stat().st_size != sif.bytes:
        return Verdict("build", (f"{sif.file} is gone or not whole",))
    if sif.tests_digest != cluster_digest(image):
        return Verdict("test", ("its tests changed",))
    return Verdict("nothing", ("nothing changed since it was made and tested",))


def cluster_digest(image: ImageDefinition) -> str:
    """sha256 over everything that decides the outcome of the tests of an image's SIF file."""
    facts = [CLUSTER_VERSION, tests_digest(image), image.needs.mpi, image.needs.gpu is not None]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def tests_digest(image: ImageDefinition) -> str:
    """sha256 over everything that decides the outcome of the tests of one image."""
    tests = [test.model_dump(mode="json") for test in image.tests]
    files = [[f.path, f.mode, hashlib.sha256(f.data).hexdigest()] for f in image.folder.tests]
    facts = [CONTRACT_VERSION, tests, files, list(image.commands), dict(image.environment)]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def explain(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What differs between two sets of ingredients, in words."""
    changed = [name for name in dict.fromkeys([*old, *new]) if old.get(name) != new.get(name)]
    telling = [n for n in changed if n not in _CONSEQUENCES and not n.startswith(_GENERATED)]
    if not telling and "revision" in changed:
        return [f"the recipe's last commit is now {_plain(new.get('revision'))}"]
    reasons = [_difference(name, old.get(name), new.get(name)) for name in telling or changed]
    return reasons or ["it was built by another version of imagefactory"]


def _difference(name: str, old: Any, new: Any) -> str:
    if name.startswith("base image "):
        return f"{name} moved {_digest(old)} → {_digest(new)}" if old and new else f"now on {name}"
    if name.startswith(_FILES) or name in _RENDERED:
        verb = "is new" if old is None else "was removed" if new is None else "changed"
        return f"{name} {verb}"
    if isinstance(old, list) and isinstance(new, list):
        return f"{name}: {', '.join(_additions(old, new)) or 'another order'}"
    if isinstance(old, dict) and isinstance(new, dict):
        keys = [key for key in dict.fromkeys([*old, *new]) if old.get(key) != new.get(key)]
        return f"{name}: {', '.join(keys)} changed"
    return f"{name} {_plain(old)} → {_plain(new)}"


def _additions(old: list[Any], new: list[Any]) -> Iterator[str]:
    yield from (f"+ {item}" for item in new if item not in old)
    yield from (f"- {item}" for item in old if item not in new)


def _digest(digest: str) -> str:
    return f"{digest.removeprefix('sha256:')[:8]}…"


def _plain(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 60 else text[:57] + "..."
