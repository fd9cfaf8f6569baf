"""A worker in a process of its own, which shares no memory with the driver."""

from __future__ import annotations

import multiprocessing
import threading
from concurrent.futures import Future
from multiprocessing.connection import Connection

from imagefactory.drive.crew import Worker
from imagefactory.drive.messages import Tell

_SECONDS = 60.0


class Elsewhere:
    """A crew of one. It is a new Python, which knows of the factory what orders say."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        context = multiprocessing.get_context("spawn")
        self._ours, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()
        self._awaited: list[Future[bytes]] = []
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def __enter__(self) -> Elsewhere:
        return self

    def __exit__(self, *exception: object) -> None:
        self._ours.send(("leave", b""))
        self._process.join(_SECONDS)
        self._listener.join(_SECONDS)
        assert self._process.exitcode == 0

    def give(self, order: bytes) -> Future[bytes]:
        future = Future[bytes]()
        self._awaited.append(future)
        self._ours.send(("order", order))
        return future

    def stop(self) -> None:
        self._ours.send(("stop", b""))

    def _listen(self) -> None:
        try:
            while True:
                what, said = self._ours.recv()
                if what == "message":
                    self._tell(said)
                else:
                    self._awaited.pop(0).set_result(said)
        except EOFError:
            for future in self._awaited:
                future.set_exception(EOFError("the worker is gone"))


def serve(driver: Connection) -> None:
    """The other process: one order at a time, and a stop at any time."""
    lock = threading.Lock()

    def send(what: str, said: bytes) -> None:
        with lock:
            driver.send((what, said))

    worker = Worker(lambda message: send("message", message))
    while True:
        what, said = driver.recv()
        if what == "leave":
            return
        if what == "stop":
            worker.stop()
        else:
            threading.Thread(target=lambda order=said: send("result", worker.work(order))).start()
