"""Decide what is to be done over a whole graph, then do it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from imagefactory.drive.driver import drive
from imagefactory.drive.result import Result
from imagefactory.drive.session import Session
from imagefactory.model.spec import ImageDefinition
from imagefactory.model.target import TargetId
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
    built = {id.name for id, verdict in verdicts.items() if verdict.action == "build"}
    for image in images:
        if image.id in built:
            write_context(session, image)
    forced = wanted if anew else ()
    return asked_or_done(drive(session, graph, verdicts, forced=forced, cache=not anew), wanted)


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
