"""Numbers and tables as people read them."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

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


def console() -> Console:
    """As wide as the terminal, and wide enough for whole lines elsewhere."""
    screen = Console(highlight=False)
    return screen if screen.is_terminal else Console(highlight=False, width=WIDE)


def table(*columns: str) -> Table:
    """An empty table with these headings."""
    new = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        new.add_column(name, overflow="fold")
    return new
