"""What commands ask for: to build, test and enter, the first two for several images."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from imagefactory.drive.driver import drive
from imagefactory.drive.result import Options, Result
from imagefactory.drive.session import Session
from imagefactory.drive.sweep import sweep
from imagefactory.drive.upkeep import asked_or_done, bring_up_to_date, look_for_engines
from imagefactory.errors import BadInput
from imagefactory.model.spec import ImageDefinition
from imagefactory.model.target import Target, TargetId, Unlocked
from imagefactory.plan import (
    Graph,
    Selection,
    Verdict,
    every_target,
    judge,
    targets_of_base,
    targets_of_image,
)
from imagefactory.targets.kind import Debugged, Entered, Packed, Tested
from imagefactory.targets.register import line


def build_targets(
    session: Session, selection: Selection, options: Options, kinds: Collection[str] | None = None
) -> list[Result]:
    """Bring every image, in all its kinds or in those ``kinds``, and every base image up to date; one that
    fails does not stop the others.

    What is not locked is locked first, and what the store lacks is fetched. Raises Interrupted after
    everything that ran has ended.
    """
    sweep(session)
    anew = "" if options.cache else "--no-cache was given"
    graph, wanted = _graph_of(session, selection, kinds)
    results: list[Result] = []
    if any(isinstance(target, Unlocked) for target in graph.values()):
        if not options.locked:
            look_for_engines(
                session, judge(graph, wanted, session.last, session.missing, anew=anew, full=session.full)
            )
        from imagefactory.drive.preparing import lock_all  # starts slowly, as what the others enter

        waited_for = {id.name for id, target in graph.items() if _is_open_base(id, target)}
        to_lock = replace(selection, bases=tuple(sorted({*selection.bases, *waited_for})))
        results, broken = lock_all(session, to_lock, locked=options.locked)
        selection = Selection(
            tuple(image for image in selection.images if image.id not in broken),
            tuple(name for name in selection.bases if name not in broken),
        )
        graph, wanted = _graph_of(session, selection, kinds)
        if broken & waited_for:  # what is made of them has to wait; why is told already
            wanted = [id for id in wanted if isinstance(graph[id], Target)]
            graph = session.resolver.graph(selection.images, wanted)
    return results + bring_up_to_date(session, graph, wanted, anew, selection.images)


def _is_open_base(id: TargetId, target: Target | Unlocked) -> bool:
    return isinstance(target, Unlocked) and line(id.kind).source != "recipes"


def _graph_of(
    session: Session, selection: Selection, kinds: Collection[str] | None
) -> tuple[Graph, list[TargetId]]:
    """What was asked for, and the graph of it and of all that it needs."""
    wanted = [id for name in selection.bases for id in targets_of_base(name)]
    wanted += [id for image in selection.images for id in targets_of_image(image, kinds)]
    return session.resolver.graph(selection.images, wanted), wanted


def test_images(session: Session, images: Sequence[ImageDefinition]) -> list[Result]:
    """Test all that was made of images as it is, without making any. Raises Interrupted."""
    sweep(session)
    results: list[Result] = []
    wanted: list[TargetId] = []
    for image in images:
        made = [id for id in every_target(image) if _is_tested(session, id) and session.last(id)]
        state = session.resolver.image(image).state
        if made and state.good:
            wanted += made
            continue
        why = state.reason or "it is not built, so it cannot be tested"
        error = BadInput(f"{image.id}: {why}", hint=f"run imagefactory build {image.selector}")
        results.append(Result(image.id, "failed", 0.0, error=error))
    graph = session.resolver.graph(images, wanted)
    asked_for = {
        id: Verdict("test", ("asked for",)) if id in wanted else Verdict("nothing", ()) for id in graph
    }
    return results + asked_or_done(drive(session, graph, asked_for, forced=wanted), wanted)


def debug_target(session: Session, id: TargetId, images: Sequence[ImageDefinition]) -> bool:
    """Open a shell, on the caller's terminal, where making a target broke; whether its kind can do that."""
    kind = session.kinds[id.kind]
    session.resolver.forget(id.name)  # the build may have fetched what its lock did not know
    graph = session.resolver.graph(images, [id])
    target = graph[id]
    if not isinstance(kind, Debugged) or not isinstance(target, Target):
        return False
    from imagefactory.drive.visit import debug
    from imagefactory.drive.worker import Order

    order = Order(session.run, target, _locked(graph, target.needs), "build", ())
    debug(order, kind, session)
    return True


def enter_target(session: Session, image: ImageDefinition, kind: str | None) -> int:
    """Open a shell, on the caller's terminal, in what was made of an image: in the candidate that failed,
    where there is one. The shell's exit status.

    Raises BadInput where nothing is there, or nobody can enter it.
    """
    from imagefactory.drive.visit import enter
    from imagefactory.drive.worker import Order

    kinds = [kind] if kind else [each.name for each in session.kinds.having(Entered)]
    ids = targets_of_image(image, kinds)
    there = [(id, report) for id in ids if (report := session.last(id)) and report.held()]
    graph = session.resolver.graph([image], ids)
    if not there:
        raise BadInput(
            f"nothing of {image.id} is here to be entered", hint=f"run imagefactory build {image.selector}"
        )
    id, report = next(((id, report) for id, report in there if report.candidate), there[0])
    target = graph[id]
    if not isinstance(target, Target):
        raise BadInput(f"{image.id}: {target.reason}", hint=f"run imagefactory build {image.selector}")
    return enter(Order(session.run, target, _locked(graph, target.needs), "test", ()), report, session)


def pack_target(session: Session, image: ImageDefinition, to: Path) -> None:
    """Write the file that an image's rendered files take to be built without the factory. Raises BadInput
    where there is none, and BuildFailed or a kind of it.
    """
    kind = session.kinds.having(Packed)[0]
    (id,) = targets_of_image(image, [kind.name])
    graph = session.resolver.graph([image], [id])
    target = graph[id]
    if not isinstance(target, Target):
        raise BadInput(f"{image.id}: {target.reason}", hint=f"run imagefactory build {image.selector}")
    assert isinstance(kind, Packed)
    from imagefactory.drive.visit import pack
    from imagefactory.drive.worker import Order

    pack(Order(session.run, target, _locked(graph, target.needs), "build", ()), kind, session, to)


def _is_tested(session: Session, id: TargetId) -> bool:
    return isinstance(session.kinds[id.kind], Tested)


def _locked(graph: Graph, ids: Iterable[TargetId]) -> tuple[Target, ...]:
    targets = (graph[id] for id in ids)
    return tuple(target for target in targets if isinstance(target, Target))
