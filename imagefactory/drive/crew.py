"""The workers of a run, and the one way between them and the driver: orders in, results and messages out, all
of them bytes that can be sent; and a stop.
"""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Protocol

from imagefactory.drive.messages import Tell, Teller
from imagefactory.drive.result import Result
from imagefactory.drive.session import Run, Session, session_of
from imagefactory.drive.worker import Order, carry_out
from imagefactory.errors import FactoryError
from imagefactory.system.processes import Stop

_MOST = 64  # threads: the machine's capacity bounds how many have anything to do


class Crew(Protocol):
    """Workers, wherever they are."""

    def give(self, order: bytes) -> Future[bytes]:
        """Have an order carried out; its result comes when it comes."""

    def stop(self) -> None:
        """Have all end what they do; what is given later ends at once."""


Hire = Callable[[Tell], AbstractContextManager[Crew]]
"""Makes a crew that tells what it does; the crew is there as long as the block."""


class Worker:
    """The other end: carries out orders, in any thread, with a session of its own, made once for each run."""

    def __init__(self, tell: Tell) -> None:
        self._progress = Teller(tell)
        self._stop = Stop()
        self._lock = threading.Lock()
        self._sessions: dict[Run, Session] = {}

    def work(self, order: bytes) -> bytes:
        """An order in, a result out. A failure is a result too."""
        return pickle.dumps(self._result(pickle.loads(order)))  # noqa: S301  # a driver of ours wrote it

    def stop(self) -> None:
        """End all that runs here, and what comes later."""
        self._stop.now()

    def _result(self, order: Order) -> Result:
        id = order.target.id
        try:
            session = self._session(order.run)
        except FactoryError as error:  # such as site settings that are bad by now
            return Result(id.name, "failed", 0.0, error=error, kind=id.kind)
        return carry_out(order, session)

    def _session(self, run: Run) -> Session:
        with self._lock:
            if run not in self._sessions:
                self._sessions[run] = session_of(run, self._progress, self._stop)
            return self._sessions[run]


class Threads:
    """A crew in this process, which shares no more with the driver than one elsewhere would."""

    def __init__(self, tell: Tell) -> None:
        self._worker = Worker(tell)
        self._pool = ThreadPoolExecutor(max_workers=_MOST)

    def __enter__(self) -> Threads:
        return self

    def __exit__(self, *exception: object) -> None:
        self._pool.shutdown()

    def give(self, order: bytes) -> Future[bytes]:
        return self._pool.submit(self._worker.work, order)

    def stop(self) -> None:
        self._worker.stop()
