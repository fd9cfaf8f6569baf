"""Progress on standard error: live on a terminal, plain lines elsewhere, folded logs in CI."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from imagefactory.cli.text import Screen
from imagefactory.cli.words import NORMAL, QUIET, VERBOSE
from imagefactory.model.report import TestReport
from imagefactory.model.spec import Step
from imagefactory.system.log import Progress, Silence
from imagefactory.system.processes import Stop
from imagefactory.system.redact import harmless, redact


@contextlib.contextmanager
def watch(loudness: str, *, plain: bool = False) -> Iterator[tuple[Progress, Stop]]:
    """The progress to report to, and the stop that an interrupt of the block asks for."""
    stop = Stop()
    console = Screen(stderr=True, highlight=False)
    try:
        if loudness == QUIET:
            yield Silence(), stop
        elif console.is_terminal and loudness == NORMAL and not plain:
            with LiveProgress(console) as live:
                yield live, stop
        else:
            yield PlainProgress(verbose=loudness == VERBOSE), stop
    except KeyboardInterrupt:
        stop.now()
        raise


class PlainProgress:
    """One line for each thing that happens. In a CI that can, an image's lines make a group."""

    def __init__(self, *, verbose: bool) -> None:
        self._verbose = verbose
        self._lock = threading.Lock()
        self._folds = "GITHUB_ACTIONS" in os.environ
        self._sections = "GITLAB_CI" in os.environ
        self._held: dict[str, list[str]] = {}
        self._tally = _Tally()

    def phase(self, id: str, text: str) -> None:
        self._say(id, text)

    def step(self, id: str, name: str) -> None:
        self._say(id, f"{name} ...")

    def line(self, id: str, text: str) -> None:
        if self._verbose:
            self._say(id, f"| {text}")
        elif self._folds or self._sections:
            with self._lock:
                self._held.setdefault(id, []).append(_clean(text))

    def amount(self, id: str, done: int, total: int) -> None:
        pass  # no line for each piece

    def step_done(self, id: str, step: Step) -> None:
        self._say(id, f"{step.name}: {'cached' if step.cached else f'{step.seconds:.1f} s'}")

    def test_done(self, id: str, test: TestReport) -> None:
        if self._tally.worth_a_line(id, test) or self._verbose:
            self._say(id, f"{test.title} {test.status}{_findings(test)}")

    def done(self, id: str, ok: bool, text: str) -> None:
        passed = self._tally.of(id)
        self._say(id, f"{text}: {passed}" if passed else text)
        with self._lock:
            lines = self._held.pop(id, [])
            if lines:
                self._group(id, lines)

    def _group(self, id: str, lines: list[str]) -> None:
        """Fold the log, as GitHub's and GitLab's documentation of their job logs say."""
        name = f"log of {id}"
        if self._folds:
            _write(f"::group::{name}", *(f" {line}" for line in lines), "::endgroup::")
            return
        now, key = int(time.time()), re.sub(r"\W+", "_", f"log_{id}").rstrip("_")
        start = f"\x1b[0Ksection_start:{now}:{key}[collapsed=true]\r\x1b[0K{name}"
        _write(start, *lines, f"\x1b[0Ksection_end:{now}:{key}\r\x1b[0K")

    def _say(self, id: str, text: str) -> None:
        with self._lock:
            _write(_clean(f"{id}: {text}"))


class _Tally:
    """Counts the tests of each image: one that passed and has nothing to tell is not worth a line."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tests: dict[str, list[TestReport]] = {}

    def worth_a_line(self, id: str, test: TestReport) -> bool:
        with self._lock:
            self._tests.setdefault(id, []).append(test)
        return test.status != "passed" or bool(test.waived or test.reason)

    def of(self, id: str) -> str:
        """How many passed, in words, and count anew; nothing where there were none."""
        with self._lock:
            tests = self._tests.pop(id, [])
        passed = sum(test.status == "passed" for test in tests)
        return f"{passed} of {len(tests)} tests passed" if tests else ""


@dataclass
class _Row:
    """What the live view shows of one image."""

    spinner: Spinner = field(default_factory=lambda: Spinner("dots"))
    start: float = field(default_factory=time.monotonic)
    phase: str = ""
    step: str = ""
    line: str = ""
    amount: tuple[int, int] | None = None


class LiveProgress:
    """One line per image that moves while it works, and a lasting line for what is done."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lock = threading.Lock()
        self._rows: dict[str, _Row] = {}
        self._tally = _Tally()
        self._live = Live(console=console, get_renderable=self._view, refresh_per_second=8, transient=True)

    def __enter__(self) -> LiveProgress:
        self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._live.stop()

    def phase(self, id: str, text: str) -> None:
        with self._lock:
            row = self._rows.setdefault(id, _Row())
            row.phase, row.step, row.line, row.amount = _clean(text).partition(":")[0], "", "", None
        if ":" in text:  # the reason for it, which is worth keeping in sight
            self._print("▸", "cyan", id, text)

    def step(self, id: str, name: str) -> None:
        with self._lock:
            row = self._rows.setdefault(id, _Row())
            row.step, row.line = _clean(name), ""

    def line(self, id: str, text: str) -> None:
        with self._lock:
            self._rows.setdefault(id, _Row()).line = _clean(text)

    def amount(self, id: str, done: int, total: int) -> None:
        with self._lock:
            row = self._rows.setdefault(id, _Row())
            row.amount = (done, total)

    def step_done(self, id: str, step: Step) -> None:
        if not step.cached and step.seconds >= 0.1:
            self._print("✓", "green", id, f"{step.name} {step.seconds:.1f} s")

    def test_done(self, id: str, test: TestReport) -> None:
        if not self._tally.worth_a_line(id, test):
            return
        mark, colour = {"passed": ("✓", "green"), "failed": ("✗", "red")}.get(test.status, ("-", "yellow"))
        self._print(mark, colour, id, f"{test.title} {test.status}{_findings(test)}")

    def done(self, id: str, ok: bool, text: str) -> None:
        with self._lock:
            self._rows.pop(id, None)
        passed = self._tally.of(id)
        if passed:
            mark, colour = ("✓", "green") if ok else ("✗", "red")
            self._print(mark, colour, id, passed)

    def _print(self, mark: str, colour: str, id: str, text: str) -> None:
        words = Text.assemble((mark, colour), " ", (id, "bold"), " ", _clean(text))
        self._console.print(words, soft_wrap=True)

    def _view(self) -> Group:
        with self._lock:
            rows = [self._row(name, row) for name, row in self._rows.items()]
        return Group(*rows)

    def _row(self, id: str, row: _Row) -> Table:
        seconds = time.monotonic() - row.start
        what = f"{row.phase}: {row.step}" if row.step else row.phase
        said, width = f"{what} {seconds:.0f} s", self._console.width
        grid = Table.grid(padding=(0, 1))
        grid.add_column(no_wrap=True)
        # A program's long line is cut before what it is about.
        grid.add_column(no_wrap=True, min_width=min(len(id), width // 3))
        grid.add_column(no_wrap=True, min_width=min(len(said), width // 2))
        grid.add_column(no_wrap=True, overflow="ellipsis")
        cells: list[RenderableType] = [row.spinner, Text(id, "bold"), Text(said)]
        if row.amount:
            done, total = row.amount
            cells += [ProgressBar(total=total or None, completed=done, width=30)]
            cells += [Text(f"{done / 1e6:.0f}{f' of {total / 1e6:.0f}' if total else ''} MB", "dim")]
            grid.add_column(no_wrap=True)
        else:
            cells.append(Text(row.line, "dim"))
        grid.add_row(*cells)
        return grid


def _findings(test: TestReport) -> str:
    """Why a test was not run, or what it measured; why one failed is said at the end."""
    if test.status == "failed":
        return ""
    if test.reason:
        return f": {test.reason}"
    if test.waived:
        return f": waived: {'; '.join(test.waived)}"
    numbers = [f"{name} = {value:g}" for name, value in test.measures.items()]
    more = [f"{len(numbers) - 1} more"] if len(numbers) > 2 else numbers[1:]
    return f": {', '.join([*numbers[:1], *more])}" if numbers else ""


def _clean(text: str) -> str:
    """What builds and upstreams say is neither a secret nor an order."""
    return harmless(redact(text))


def _write(*lines: str) -> None:
    sys.stderr.write("\n".join(lines) + "\n")
    sys.stderr.flush()
