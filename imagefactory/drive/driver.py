"""Walks the graph: what is ready goes to workers, as far as the machine has room; a failure stops only what
needs it.
"""

from __future__ import annotations

import pickle
from collections.abc import Collection, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import replace
from typing import TYPE_CHECKING

from imagefactory.drive.result import Result, Stopped
from imagefactory.drive.room import Capacity
from imagefactory.drive.session import Session
from imagefactory.errors import FactoryError, Interrupted
from imagefactory.model.target import Room, Target, TargetId
from imagefactory.plan import Graph, Verdict, judge_one
from imagefactory.system.files import remove_tree
from imagefactory.targets.register import shown

if TYPE_CHECKING:  # not entered where nothing is to be done
    from imagefactory.drive.crew import Crew, Hire


def drive(
    session: Session,
    graph: Graph,
    verdicts: Mapping[TargetId, Verdict],
    *,
    refused: Mapping[TargetId, FactoryError] | None = None,
    forced: Collection[TargetId] = (),
    cache: bool = True,
    hire: Hire | None = None,
) -> list[Result]:
    """Do what the verdicts say, in the order that needs ask for: a result for each target of the graph.

    ``refused`` are failures before anything starts. ``forced`` are done whatever a second look says; without
    a ``cache`` they use nothing of earlier builds. ``hire`` gives the workers,
    threads of this process by default. Raises Stopped after
    everything that ran has ended.
    """
    walk = _Drive(session, graph, verdicts, forced, cache)
    walk.refuse(refused or {})
    return walk.run(hire)


class _Drive:
    """One walk: who waits, who runs, and what came of the others."""

    def __init__(
        self,
        session: Session,
        graph: Graph,
        verdicts: Mapping[TargetId, Verdict],
        forced: Collection[TargetId],
        cache: bool,
    ) -> None:
        self._session = session
        self._graph = graph
        self._verdicts = dict(verdicts)
        self._forced = forced
        self._cache = cache
        self._results: dict[TargetId, Result] = {}
        self._running: dict[Future[bytes], TargetId] = {}
        self._warnings: dict[TargetId, tuple[str, ...]] = {}
        self._capacity = Capacity()

    def refuse(self, failures: Mapping[TargetId, FactoryError]) -> None:
        """Have targets fail that nobody has started."""
        self._results.update((id, self._failed(id, error)) for id, error in failures.items())

    def run(self, hire: Hire | None) -> list[Result]:
        if all(self._verdicts[id].action == "nothing" for id in self._graph):
            return [self._idle(id) for id in self._graph]
        from imagefactory.drive.crew import Threads

        hire = hire or Threads
        # A stop reaches the workers whoever asks for it.
        with hire(self._hear) as crew, self._session.stop.ends(crew.stop):
            try:
                while len(self._results) < len(self._graph):
                    self._start_what_is_ready(crew)
                    if not self._running and self._session.stop:
                        break
                    self._collect()
            except KeyboardInterrupt:  # end what runs, then say what had finished
                self._session.stop.now()
                self._end()
            except BaseException:
                self._session.stop.now()
                raise
            finally:
                wait(self._running)
                for id in self._graph:
                    self._drop_handover(id)
        if self._session.stop:
            raise Stopped(self._finished())
        return [self._results[id] for id in self._graph]

    def _hear(self, message: bytes) -> None:
        from imagefactory.drive.messages import pass_on

        pass_on(message, self._session.progress)

    def _start_what_is_ready(self, crew: Crew) -> None:
        """Start all for which there is room now; settle those for which nothing is to be done."""
        busy = set(self._running.values())
        for id in self._graph:
            if id in self._results or id in busy or not self._needs_are_done(id):
                continue
            try:
                settled = self._settled(id)
                if settled:
                    self._results[id] = settled
                elif not self._session.stop:
                    self._start(crew, id)
            except FactoryError as error:  # such as an engine that has gone meanwhile
                self._results[id] = self._failed(id, error)

    def _needs_are_done(self, id: TargetId) -> bool:
        return all(need in self._results for need in self._graph[id].needs)

    def _settled(self, id: TargetId) -> Result | None:
        """The result of a target that needs no worker."""
        broken = [
            need for need in self._graph[id].needs if self._results[need].action in ("failed", "skipped")
        ]
        if broken and self._verdicts[id].action != "nothing":
            self._session.progress.done(shown(id), False, f"not made, for {shown(broken[0])} failed")
            return Result(id.name, "skipped", 0.0, (f"{shown(broken[0])} failed",), kind=id.kind)
        if self._verdicts[id].action == "nothing" and (broken or not self._something_moved(id)):
            return self._idle(id)
        return self._no_room(id)

    def _something_moved(self, id: TargetId) -> bool:
        """Whether what it is made of came out otherwise now, of the same ingredients."""
        if all(self._results[need].action == "nothing" for need in self._graph[id].needs):
            return False
        session = self._session
        verdict = judge_one(self._graph[id], self._graph, session.last, session.missing, full=session.full)
        self._verdicts[id] = verdict
        return verdict.action != "nothing"

    def _idle(self, id: TargetId) -> Result:
        report = self._session.last(id)
        return Result(id.name, "nothing", 0.0, self._verdicts[id].reasons, report, kind=id.kind)

    def _no_room(self, id: TargetId) -> Result | None:
        """The failure of a target for which this machine has too little, said before it starts."""
        target = self._graph[id]
        if not isinstance(target, Target) or self._verdicts[id].action != "build":
            return None
        error = self._capacity.lacks(id, self._room(target))
        return self._failed(id, error) if error else None

    def _failed(self, id: TargetId, error: FactoryError) -> Result:
        self._session.progress.done(shown(id), False, "failed")
        return Result(id.name, "failed", 0.0, error=error, kind=id.kind)

    def _room(self, target: Target) -> Room:
        return self._session.kinds.of(target).room(target, self._session.last(target.id))

    def _start(self, crew: Crew, id: TargetId) -> None:
        target = self._graph[id]
        assert isinstance(target, Target), f"{id} was not locked"
        if not self._capacity.take(id, room := self._room(target)):
            return
        if warning := self._capacity.lacks_memory(room.memory):
            self._session.progress.phase(shown(id), warning)
            self._warnings[id] = (warning,)
        from imagefactory.drive.worker import Order

        needs = (self._graph[need] for need in target.needs)
        order = Order(
            run=self._session.run,
            target=target,
            needs=tuple(need for need in needs if isinstance(need, Target)),
            action=self._verdicts[id].action,
            reasons=self._verdicts[id].reasons,
            forced=id in self._forced,
            cache=self._cache or id not in self._forced,
            handover=self._others_follow(id),
        )
        self._running[crew.give(pickle.dumps(order))] = id

    def _others_follow(self, id: TargetId) -> bool:
        return any(
            id in target.needs and self._verdicts[other].action == "build"
            for other, target in self._graph.items()
        )

    def _collect(self) -> None:
        """Wait until something ends, and take its result."""
        if not self._running:
            return
        done, _ = wait(self._running, return_when=FIRST_COMPLETED)
        for future in done:
            id = self._take(future)
            self._capacity.leave(id)
            for need in self._graph[id].needs:
                if all(other in self._results for other in self._made_of(need)):
                    self._drop_handover(need)

    def _take(self, future: Future[bytes]) -> TargetId:
        id = self._running.pop(future)
        result: Result = pickle.loads(future.result())  # noqa: S301  # a worker of ours wrote it
        self._results[id] = replace(result, warnings=self._warnings.get(id, ()))
        return id

    def _end(self) -> None:
        """Wait for all that runs and was told to stop."""
        wait(self._running)
        for future in [*self._running]:
            self._take(future)

    def _finished(self) -> list[Result]:
        """What was made or tested before a stop, and what failed for another reason."""
        return [
            item
            for item in self._results.values()
            if item.action not in ("nothing", "skipped") and not isinstance(item.error, Interrupted)
        ]

    def _made_of(self, need: TargetId) -> list[TargetId]:
        return [id for id, target in self._graph.items() if need in target.needs]

    def _drop_handover(self, id: TargetId) -> None:
        remove_tree(self._session.record(id).handover)
