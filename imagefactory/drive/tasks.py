"""What commands ask for: build, test, lock, fetch and bundle, each for several images."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TypeVar

from imagefactory.deliver.bundle import default_name, write_bundle
from imagefactory.drive.driver import drive
from imagefactory.drive.fetching import ensure_fetched
from imagefactory.drive.locking import asked_of, ensure_base_lock, ensure_image_lock
from imagefactory.drive.result import Options, Result
from imagefactory.drive.session import Session
from imagefactory.drive.sweep import sweep
from imagefactory.drive.worker import Order, debug
from imagefactory.errors import BadInput, Interrupted
from imagefactory.locks.states import LockState
from imagefactory.model.spec import ImageDefinition
from imagefactory.model.target import Target, TargetId, Unlocked
from imagefactory.plan import (
    Graph,
    Resolver,
    Selection,
    Verdict,
    judge,
    targets_of_base,
    targets_of_image,
)
from imagefactory.system.files import write_files
from imagefactory.targets.kind import Debugged, Tested

T = TypeVar("T")
_AT_ONCE = 2  # locks: each asks a resolver that has the machine to itself


@dataclass(frozen=True, slots=True)
class Planned:
    """What would be done about one target; ``input_digest`` is None where that can't be told yet."""

    id: TargetId
    verdict: Verdict
    input_digest: str | None


def plan_targets(session: Session, images: Iterable[ImageDefinition], bases: Iterable[str]) -> list[Planned]:
    """A verdict for each target of each image and base image, and of what they need that would be made for
    them; nothing is made and nothing is written.
    """
    plans: dict[TargetId, Planned] = {}
    no_images: list[ImageDefinition] = []
    groups = chain(
        ((no_images, targets_of_base(name)) for name in bases),
        (([image], targets_of_image(image)) for image in images),
    )
    for of, wanted in groups:
        graph = session.resolver.graph(of, wanted)
        for id, verdict in judge(graph, wanted, session.last, session.missing).items():
            if id not in plans and (id in wanted or verdict.action != "nothing"):
                target = graph[id]
                digest = target.input_digest if isinstance(target, Target) else None
                plans[id] = Planned(id, verdict, digest)
        session.resolver.forget(*(image.id for image in of))  # thousands would not all fit into memory
    return list(plans.values())


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
            _look_for_engines(session, judge(graph, wanted, session.last, session.missing, anew=anew))
        results, broken = _lock_all(session, selection, locked=options.locked)
        selection = Selection(
            tuple(image for image in selection.images if image.id not in broken),
            tuple(name for name in selection.bases if name not in broken),
        )
        graph, wanted = _graph_of(session, selection, kinds)
    return results + _bring_up_to_date(session, graph, wanted, anew, selection.images)


def _graph_of(
    session: Session, selection: Selection, kinds: Collection[str] | None
) -> tuple[Graph, list[TargetId]]:
    """What was asked for, and the graph of it and of all that it needs."""
    wanted = [id for name in selection.bases for id in targets_of_base(name)]
    wanted += [id for image in selection.images for id in targets_of_image(image, kinds)]
    return session.resolver.graph(selection.images, wanted), wanted


def _look_for_engines(session: Session, verdicts: Mapping[TargetId, Verdict]) -> None:
    """Missing ones are better told before an hour's build than after it. Raises EngineError."""
    for name in dict.fromkeys(id.kind for id, verdict in verdicts.items() if verdict.action != "nothing"):
        session.kinds[name].engines()


def lock_images(session: Session, selection: Selection, *, upgrade: bool) -> list[Result]:
    """Lock every image (and base image) that is not locked for what is asked for now; with ``upgrade``,
    all of them, to what upstreams have today.
    """
    sweep(session)
    results, _ = _lock_all(session, selection, upgrade=upgrade, tell_all=True)
    return results


def fetch_images(session: Session, selection: Selection) -> list[Result]:
    """Have the store hold all that the images (and their base images) are made of."""
    results, broken = _lock_all(session, selection)
    results = [item for item in results if item.error]
    for name in _bases_of(selection):
        resolved = session.resolver.base(name)
        if name not in broken and resolved.spec:
            results.append(ensure_fetched(session, name, resolved.spec, resolved.spec.lock))
    for image in selection.images:
        spec = session.resolver.image(image).spec
        if image.id not in broken and spec:
            results.append(ensure_fetched(session, image.id, spec, spec.lock))
    return results


def unlocked(resolver: Resolver, selection: Selection) -> list[tuple[str, str]]:
    """The images and base images that are not locked for what is asked for now, and why not."""
    states: list[tuple[str, LockState]] = [(name, resolver.base(name).state) for name in _bases_of(selection)]
    states += [(image.id, resolver.image(image).state) for image in selection.images]
    return [(name, state.reason) for name, state in states if state.reason]


def bundle_images(
    session: Session, selection: Selection, to: Path | None
) -> tuple[Path | None, int, list[Result]]:
    """Lock, fetch and render what is missing, make the base images, then write the bundle: the file, its
    bytes, and what was done.

    The file is None where something failed.
    """
    sweep(session)
    images = list(selection.images)
    results = fetch_images(session, selection)
    made = [] if any(result.error for result in results) else _make_bases(session, _bases_of(selection))
    results += [result for result in made if result.action != "nothing"]
    if any(result.error for result in results):
        return None, 0, results
    for image in images:
        write_context(session, image)
    file = to or default_name(images, session.workspace)
    return file, write_bundle(session.workspace, session.resolver, session.store, images, file), results


def write_context(session: Session, image: ImageDefinition) -> Path:
    """Render an image to its folder below ``build/``. Raises NotLocked where its inputs are not locked."""
    home = session.home(image.id)
    files = session.resolver.render(image)

    def waiting() -> None:
        session.progress.phase(image.id, "waiting for another build of it")

    with home.locked(waiting, session.stop):
        return write_files(home.context, files, mark=True)


def test_images(session: Session, images: Sequence[ImageDefinition]) -> list[Result]:
    """Test all that was made of images as it is, without making any. Raises Interrupted."""
    sweep(session)
    results: list[Result] = []
    wanted: list[TargetId] = []
    for image in images:
        made = [id for id in targets_of_image(image) if _is_tested(session, id) and session.last(id)]
        state = session.resolver.image(image).state
        if made and state.good:
            wanted += made
            continue
        why = state.reason or "it is not built, so it cannot be tested"
        error = BadInput(f"{image.id}: {why}", hint=f"run imagefactory build {image.id}")
        results.append(Result(image.id, "failed", 0.0, error=error))
    graph = session.resolver.graph(images, wanted)
    asked_for = {
        id: Verdict("test", ("asked for",)) if id in wanted else Verdict("nothing", ()) for id in graph
    }
    return results + _shown(drive(session, graph, asked_for, forced=wanted), wanted)


def debug_target(session: Session, id: TargetId, images: Sequence[ImageDefinition]) -> bool:
    """Open a shell, on the caller's terminal, where making a target broke; whether its kind can do that."""
    kind = session.kinds[id.kind]
    graph = session.resolver.graph(images, [id])
    target = graph[id]
    if not isinstance(kind, Debugged) or not isinstance(target, Target):
        return False
    order = Order(target, _locked(graph, target.needs), "build", ())
    debug(order, kind, session)
    return True


def _is_tested(session: Session, id: TargetId) -> bool:
    return isinstance(session.kinds[id.kind], Tested)


def _bring_up_to_date(
    session: Session,
    graph: Graph,
    wanted: Sequence[TargetId],
    anew: str = "",
    images: Iterable[ImageDefinition] = (),
) -> list[Result]:
    """Decide what is to be done over the whole graph, then do it; of ``images`` that are built, the rendered
    files are kept for people to look at.
    """
    verdicts = judge(graph, wanted, session.last, session.missing, anew=anew)
    _look_for_engines(session, verdicts)
    built = {id.name for id, verdict in verdicts.items() if verdict.action == "build"}
    for image in images:
        if image.id in built:
            write_context(session, image)
    forced = wanted if anew else ()
    return _shown(drive(session, graph, verdicts, forced=forced, cache=not anew), wanted)


def _shown(results: Iterable[Result], wanted: Collection[TargetId]) -> list[Result]:
    """What was asked for, and what was done for it."""
    return [item for item in results if item.action != "nothing" or item.id in wanted]


def _make_bases(session: Session, names: Iterable[str]) -> list[Result]:
    wanted = [id for name in names for id in targets_of_base(name)]
    return _bring_up_to_date(session, session.resolver.graph((), wanted), wanted)


def _lock_all(
    session: Session,
    selection: Selection,
    *,
    upgrade: bool = False,
    locked: bool = False,
    tell_all: bool = False,
) -> tuple[list[Result], set[str]]:
    """Lock what is not locked: what was done that is worth telling, and the names of what can't be gone on
    with.
    """
    results: list[Result] = []
    broken: set[str] = set()
    for name in _bases_of(selection):
        named = name in selection.bases
        result = ensure_base_lock(session, name, upgrade=upgrade and named, locked=locked)
        if result.error:
            broken.add(name)
        if result.error or (tell_all and (result.action != "nothing" or named)):
            results.append(result)
    open_ = [image for image in selection.images if upgrade or session.resolver.image(image).spec is None]
    # Only what is locked here and now asks the base image, which must be there to answer.
    asked = sorted({image.base for image in open_} - broken)
    if asked and not locked:
        wanted = [asked_of(session, name) for name in asked]
        made = _bring_up_to_date(session, session.resolver.graph((), wanted), wanted)
        broken |= {item.name for item in made if item.error}
        results += [item for item in made if item.error or not (tell_all or item.action == "nothing")]
    ready = [image for image in selection.images if image.base not in broken]
    chosen = ready if tell_all else [image for image in ready if image in open_]

    def work(image: ImageDefinition) -> Result:
        return ensure_image_lock(session, image, upgrade=upgrade, locked=locked)

    for result in in_parallel(work, chosen, session):
        if result.error:
            broken.add(result.name)
        if result.error or tell_all:
            results.append(result)
    broken |= {image.id for image in selection.images if image.base in broken}
    return results, broken


def _locked(graph: Graph, ids: Iterable[TargetId]) -> tuple[Target, ...]:
    targets = (graph[id] for id in ids)
    return tuple(target for target in targets if isinstance(target, Target))


def _bases_of(selection: Selection) -> list[str]:
    """The base images that were named, and those of the images that were."""
    return sorted({image.base for image in selection.images} | set(selection.bases))


def in_parallel(
    work: Callable[[ImageDefinition], T], images: Sequence[ImageDefinition], session: Session
) -> list[T]:
    """Results of ``work``, in the order of the images. Raises Interrupted."""
    if not images:
        return []
    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        futures: list[Future[T]] = [pool.submit(work, image) for image in images]
        try:
            wait(futures)
        except BaseException:  # a signal: end what runs, then leave
            session.stop.now()
            for future in futures:
                future.cancel()
            raise
    if session.stop:
        raise Interrupted("interrupted")
    return [future.result() for future in futures]
