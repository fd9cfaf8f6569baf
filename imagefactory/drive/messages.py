"""What a worker tells as it works: plain data that can be sent, and is passed on to whoever watches."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

from imagefactory.model.report import TestReport
from imagefactory.model.spec import Step
from imagefactory.system.log import Progress

Tell = Callable[[bytes], None]
"""Sends a message on its way. Called from several threads."""


class Teller:
    """The progress of a worker: all that it hears becomes a message."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell

    def phase(self, id: str, text: str) -> None:
        self._say("phase", id, text)

    def step(self, id: str, name: str) -> None:
        self._say("step", id, name)

    def line(self, id: str, text: str) -> None:
        self._say("line", id, text)

    def amount(self, id: str, done: int, total: int) -> None:
        self._say("amount", id, done, total)

    def step_done(self, id: str, step: Step) -> None:
        self._say("step_done", id, step)

    def test_done(self, id: str, test: TestReport) -> None:
        self._say("test_done", id, test)

    def done(self, id: str, ok: bool, text: str) -> None:
        self._say("done", id, ok, text)

    def _say(self, *words: Any) -> None:
        self._tell(pickle.dumps(words))


def pass_on(message: bytes, progress: Progress) -> None:
    """Have ``progress`` hear what a worker told."""
    what, *heard = pickle.loads(message)  # noqa: S301  # a worker of ours wrote it
    getattr(progress, what)(*heard)
