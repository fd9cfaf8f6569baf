"""What is going on, told as it happens: to whoever watches, and to one log file per image."""

from __future__ import annotations

import contextlib
from collections import deque
from pathlib import Path
from typing import IO, Protocol

from imagefactory.errors import disk_error
from imagefactory.model.report import TestReport
from imagefactory.model.spec import Step
from imagefactory.system.redact import harmless, redact

TAIL_LINES = 15
MAX_LOG_BYTES = 64 << 20


class Progress(Protocol):
    """Hears of every image, step and test. Called from several threads."""

    def phase(self, id: str, text: str) -> None:
        """The image ``id`` now does ``text``: waits, builds, is tested."""

    def step(self, id: str, name: str) -> None:
        """A step begins."""

    def line(self, id: str, text: str) -> None:
        """The current step wrote a line."""

    def amount(self, id: str, done: int, total: int) -> None:
        """So many bytes of ``total`` are fetched; of 0 where nobody knows how many there are."""

    def step_done(self, id: str, step: Step) -> None:
        """A step ended well."""

    def test_done(self, id: str, test: TestReport) -> None:
        """A test ended, or was not run."""

    def done(self, id: str, ok: bool, text: str) -> None:
        """The image is finished; ``text`` says how."""


class Silence:
    """A watcher that shows nothing."""

    def _hear(self, id: str, *heard: object, **more: object) -> None:
        """Let it pass."""

    phase = step = line = amount = step_done = test_done = done = _hear


class Log:
    """One image's voice: to the watcher, to the log file, and its last lines to an error.

    With ``append`` the file goes on where it was, for what belongs to the same build.
    """

    def __init__(self, id: str, file: Path, progress: Progress, *, append: bool = False) -> None:
        self.id = id
        self.path = file
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._progress = progress
        self._written = 0
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            self._out: IO[str] = file.open("a" if append else "w", encoding="utf-8", errors="replace")
        except OSError as error:
            raise disk_error(error, file) from None

    def close(self) -> None:
        """Close the log file; what a full disk could not take is lost, and was reported before."""
        with contextlib.suppress(OSError):
            self._out.close()

    def phase(self, text: str) -> None:
        text = redact(text)
        self._write(f"== {text}")
        self._progress.phase(self.id, text)

    def step(self, name: str) -> None:
        self.tail.clear()
        self._write(f"-- {name}")
        self._progress.step(self.id, name)

    def line(self, text: str) -> None:
        text = redact(text)
        self.tail.append(text)
        self._write(text)
        self._progress.line(self.id, text)

    def step_done(self, step: Step) -> None:
        self._write(f"-- {step.name}: {'cached' if step.cached else f'{step.seconds:.1f} s'}")
        self._progress.step_done(self.id, step)

    def test_done(self, test: TestReport) -> None:
        reason = f" ({test.reason})" if test.reason else ""
        self._write(f"-- {test.title}: {test.status}{reason}")
        self._progress.test_done(self.id, test)

    def done(self, ok: bool, text: str) -> None:
        self._progress.done(self.id, ok, text)

    def _write(self, text: str) -> None:
        if self._written > MAX_LOG_BYTES:
            return
        self._written += len(text) + 1
        if self._written > MAX_LOG_BYTES:
            text = f"(this log ends here: {MAX_LOG_BYTES >> 20} MiB are enough)"
        try:
            self._out.write(harmless(text, "\t\n") + "\n")  # the one place that writes to it
            self._out.flush()
        except OSError as error:
            raise disk_error(error, self.path) from None
