"""What would be done about images, and why: nothing is made, written or asked for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain

from imagefactory.drive.room import Capacity
from imagefactory.drive.session import Session
from imagefactory.errors import Problem
from imagefactory.model.spec import ImageDefinition
from imagefactory.model.target import Target, TargetId, Unlocked
from imagefactory.plan import Verdict, every_target, judge, targets_of_base, targets_of_image


@dataclass(frozen=True, slots=True)
class Planned:
    """What would be done about one target; ``input_digest`` is None where that can't be told yet.
    ``warnings`` say what of this machine is too little for it.
    """

    id: TargetId
    verdict: Verdict
    input_digest: str | None
    warnings: tuple[str, ...] = ()


def plan_targets(
    session: Session, images: Iterable[ImageDefinition], bases: Iterable[str]
) -> tuple[list[Planned], list[Problem]]:
    """A verdict for each target of each image and base image, and of what they need that would be made for
    them, and what is wrong with the others; nothing is made and nothing is written.
    """
    problems: list[Problem] = []
    capacity = Capacity()
    plans: dict[TargetId, Planned] = {}
    no_images: list[ImageDefinition] = []
    groups = chain(
        ((no_images, targets_of_base(name)) for name in bases),
        (([image], _planned_of(session, image)) for image in images),
    )
    for of, wanted in groups:
        if wrong := [problem for image in of for problem in session.resolver.problems(image)]:
            problems += wrong
            continue
        graph = session.resolver.graph(of, wanted)
        for id, verdict in judge(graph, wanted, session.last, session.missing).items():
            if id not in plans and (id in wanted or verdict.action != "nothing"):
                plans[id] = _planned(session, graph[id], verdict, capacity)
        session.resolver.forget(*(image.id for image in of))  # thousands would not all fit into memory
    return list(plans.values()), problems


def _planned(session: Session, target: Target | Unlocked, verdict: Verdict, capacity: Capacity) -> Planned:
    if not isinstance(target, Target):
        return Planned(target.id, verdict, None)
    memory = session.kinds.of(target).memory(target) if verdict.action != "nothing" else 0
    warning = capacity.lacks_memory(memory)
    return Planned(target.id, verdict, target.input_digest, (warning,) if warning else ())


def _planned_of(session: Session, image: ImageDefinition) -> list[TargetId]:
    """What a build would bring up to date, and what somebody asked for before."""
    usual = targets_of_image(image)
    return [id for id in every_target(image) if id in usual or session.last(id)]


def stale_targets(session: Session, images: Iterable[ImageDefinition]) -> dict[TargetId, tuple[str, ...]]:
    """Of all that was made of images, what a build would make or test again, and why.

    Engines are not asked whether it is still there.
    """
    stale: dict[TargetId, tuple[str, ...]] = {}
    for image in images:
        made = [id for id in every_target(image) if session.last(id)]
        if not made:
            continue
        graph = session.resolver.graph([image], made)
        verdicts = judge(graph, made, session.last, lambda *_: "")
        stale.update((id, verdicts[id].reasons) for id in made if verdicts[id].action != "nothing")
        session.resolver.forget(image.id)
    return stale
