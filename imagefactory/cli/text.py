"""Numbers and tables as people read them."""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Iterator
from typing import IO, Any, cast

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from imagefactory.system.redact import harmless

WIDE = 200  # columns of a table that is not shown on a terminal
COLOURS = {
    "passed": "green",
    "failed": "red",
    "stale": "yellow",
    "nothing": "dim",
    "build": "cyan",
    "test": "cyan",
}


def size(count: int) -> str:
    """Bytes, in decimal units as registries show them."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= factor:
            return f"{count / factor:.3g} {unit}"
    return f"{count} B"


def duration(seconds: float) -> str:
    """Seconds, and minutes where there are any."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"


def digest(text: str) -> str:
    """The beginning of a digest, enough to tell images apart."""
    return text.removeprefix("sha256:")[:12]


class Screen(Console):
    """Obeys us alone: in texts that are shown, a terminal finds nothing to obey."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=harmless(segment.text, "\t\n"))


def console() -> Console:
    """As wide as the terminal, and wide enough for whole lines elsewhere, where no line ends with spaces."""
    screen = Screen(highlight=False)
    if screen.is_terminal:
        return screen
    return Screen(highlight=False, width=WIDE, file=cast(IO[str], _Trimmed(sys.stdout)))


class _Trimmed:
    """Takes whole lines, and passes them on without the spaces at their ends, which rich pads tables with."""

    def __init__(self, out: IO[str]) -> None:
        self._out = out

    def write(self, text: str) -> int:
        return self._out.write(re.sub(r" +$", "", text, flags=re.MULTILINE))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._out, name)


def cut(text: str) -> Text:
    """A text for a column that gives way, which stays on one line."""
    return Text(text, no_wrap=True, overflow="ellipsis")


def table(*columns: str, wraps: Collection[str]) -> Table:
    """An empty table with these headings, of which some give way where the screen is narrow."""
    new = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        new.add_column(name, no_wrap=name not in wraps, overflow="fold")
    return new
