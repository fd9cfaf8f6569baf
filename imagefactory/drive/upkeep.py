"""Decide what is to be done over a whole graph, then do it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from imagefactory.drive.driver import drive
from imagefactory.drive.result import Result
from imagefactory.drive.room import cannot_fit
from imagefactory.drive.session import Session
from imagefactory.errors import DiskFull
from imagefactory.model.spec import ImageDefinition
from imagefactory.model.target import Target, TargetId
from imagefactory.plan import Graph, Verdict, judge
from imagefactory.system.files import write_files


def bring_up_to_date(
    session: Session,
    graph: Graph,
    wanted: Sequence[TargetId],
    anew: str = "",
    images: Iterable[ImageDefinition] = (),
) -> list[Result]:
    """Decide what is to be done over the whole graph, then do it; of ``images`` that are built, the rendered
    files are kept for people to look at.
    """
    verdicts = judge(graph, wanted, session.last, session.missing, anew=anew, full=session.full)
    look_for_engines(session, verdicts)
    refused = _without_disk(session, graph, verdicts)
    verdicts = _still_needed(graph, verdicts, wanted, refused)
    built = {id.name for id, verdict in verdicts.items() if verdict.action == "build"}
    for image in images:
        if image.id in built:
            write_context(session, image)
    forced = wanted if anew else ()
    results = drive(session, graph, verdicts, refused=refused, forced=forced, cache=not anew)
    return asked_or_done(results, wanted)


def _without_disk(
    session: Session, graph: Graph, verdicts: Mapping[TargetId, Verdict]
) -> dict[TargetId, DiskFull]:
    """The failures of all for which the disk is too small: told now, not after what they are made of."""
    rooms = {
        id: session.kinds.of(target).room(target, session.last(id))
        for id, target in graph.items()
        if verdicts[id].action == "build" and isinstance(target, Target)
    }
    return cannot_fit({id: target.needs for id, target in graph.items()}, rooms)


def _still_needed(
    graph: Graph,
    verdicts: Mapping[TargetId, Verdict],
    wanted: Collection[TargetId],
    refused: Collection[TargetId],
) -> dict[TargetId, Verdict]:
    """The verdicts, where nothing is done for the sake of ``refused`` alone."""
    if not refused:
        return dict(verdicts)
    lost: set[TargetId] = set()
    for id, target in graph.items():
        if id in refused or (verdicts[id].action != "nothing" and not lost.isdisjoint(target.needs)):
            lost.add(id)
    kept, needed = dict(verdicts), set[TargetId]()
    for id in reversed(list(graph)):
        if id not in lost and id not in wanted and id not in needed:
            kept[id] = Verdict("nothing", ("nothing needs it now",))
        elif id not in lost and verdicts[id].action != "nothing":
            needed.update(graph[id].needs)
    return kept


def look_for_engines(session: Session, verdicts: Mapping[TargetId, Verdict]) -> None:
    """Missing ones are better told before an hour's build than after it. Raises EngineError."""
    for name in dict.fromkeys(id.kind for id, verdict in verdicts.items() if verdict.action != "nothing"):
        session.kinds[name].engines()


def asked_or_done(results: Iterable[Result], wanted: Collection[TargetId]) -> list[Result]:
    """What was asked for, and what was done for it."""
    return [item for item in results if item.action != "nothing" or item.id in wanted]


def write_context(session: Session, image: ImageDefinition) -> Path:
    """Render an image to its folder below ``build/``. Raises NotLocked where its inputs are not locked."""
    home = session.home(image.id)
    files = session.resolver.render(image)

    def waiting() -> None:
        session.progress.phase(image.id, "waiting for another build of it")

    with home.locked(waiting, session.stop):
        return write_files(home.context, files, mark=True)
