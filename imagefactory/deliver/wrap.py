"""Launchers for what is built and tested."""

from __future__ import annotations

from pathlib import Path

from imagefactory.errors import BadInput
from imagefactory.model.spec import ImageDefinition
from imagefactory.model.target import Target, TargetId
from imagefactory.plan import Resolver
from imagefactory.system.records import record_of
from imagefactory.system.workspace import Workspace
from imagefactory.targets.common.launchers import Wrapped, write_wrappers
from imagefactory.targets.kind import Kept, Launched
from imagefactory.targets.register import Kinds, called


def wrap(
    workspace: Workspace, resolver: Resolver, kinds: Kinds, image: ImageDefinition, kind: str, to: Path
) -> Wrapped:
    """Write the launchers of one image below ``to``, which run what was made of it in that kind.

    Raises BadInput where that is not there and tested.
    """
    launched = kinds[kind]
    if not isinstance(launched, Launched):
        raise BadInput(f"no launcher can run a target of the kind {kind}")
    kept = _kept(workspace, resolver, kinds, image, TargetId(kind, image.id))
    if kept.report.stand_ins:
        raise BadInput(
            f"{image.id} holds stand-ins: nobody should take it for the software",
            hint="take the stand-ins out of site.yaml, and build it again",
        )
    launched.verify(kept)
    return write_wrappers(image, kept, launched, to)


def _kept(
    workspace: Workspace, resolver: Resolver, kinds: Kinds, image: ImageDefinition, id: TargetId
) -> Kept:
    record = record_of(workspace, id)
    report = record.read()
    target = resolver.graph([image], [id])[id]
    hint = f"run imagefactory build {image.selector}" + _other_kinds(workspace, kinds, id)
    if report is None or report.status != "passed" or not report.kept:
        raise BadInput(f"{called(id)} is not built and tested", hint=hint)
    if not isinstance(target, Target):
        raise BadInput(f"{image.id}: {target.reason}", hint=hint)
    kept = Kept(report, record, kinds[id.kind], target)
    missing = kinds[id.kind].missing(kept)
    if missing:
        raise BadInput(f"{image.id}: {missing}", hint=hint)
    for need in report.needs:
        of_it = record_of(workspace, TargetId(need.kind, need.id)).read()
        if of_it and of_it.digest != need.digest:
            raise BadInput(
                f"{called(id)} was made of an older {called(TargetId(need.kind, need.id))}", hint=hint
            )
    return kept


def _other_kinds(workspace: Workspace, kinds: Kinds, id: TargetId) -> str:
    """Which other kinds of the image launchers could run now, as the end of a hint."""
    names = [kind.name for kind in kinds.having(Launched) if kind.name != id.kind]
    reports = [record_of(workspace, TargetId(name, id.name)).read() for name in names]
    good = [report.kind for report in reports if report and report.kept and report.status == "passed"]
    return f", or give --format {' or '.join(good)}" if good else ""
