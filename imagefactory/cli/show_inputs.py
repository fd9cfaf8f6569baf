"""Inputs on the screen: locks, what was fetched, and the store."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.text import Text

from imagefactory.cli.text import console, size, table

if TYPE_CHECKING:
    from imagefactory.drive.result import Result
    from imagefactory.drive.stock import Stock

_MOST_CHANGES = 40


def show_unlocked(reasons: Iterable[tuple[str, str]]) -> None:
    """What is not locked, and why."""
    reasons = list(reasons)
    for name, reason in reasons:
        console().print(Text(f"{name}: {reason}"), soft_wrap=True)
    if not reasons:
        console().print("all locked")


def show_locks(results: Iterable[Result]) -> None:
    """What became of each lock: its changes, one a line."""
    screen = console()
    for item in results:
        if item.error:
            continue
        if item.action == "nothing":
            screen.print(Text(f"{item.name}: locked, nothing changed"))
            continue
        count = len(item.reasons)
        screen.print(Text(f"{item.name}: {count} changes" if count > 1 else item.name))
        for change in item.reasons[:_MOST_CHANGES]:
            screen.print(Text(f"  {change}"), soft_wrap=True)
        if count > _MOST_CHANGES:
            screen.print(Text(f"  and {count - _MOST_CHANGES} more: see git diff"))


def show_fetched(results: Iterable[Result]) -> None:
    """What was fetched for each image."""
    for item in results:
        if not item.error:
            words = "all in the store" if item.action == "nothing" else f"fetched {item.reasons[0]}"
            console().print(Text(f"{item.name}: {words}"))


def show_stock(stock: Stock) -> None:
    """What the store holds."""
    grid = table("sha256", "size", "last used", "input", "for", wraps=["for"])
    for stored, name, users in stock.files:
        day = datetime.fromtimestamp(stored.used, UTC).strftime("%Y-%m-%d")
        named = ", ".join(users[:3]) + (f" and {len(users) - 3} more" if len(users) > 3 else "")
        grid.add_row(stored.sha256[:12], size(stored.bytes), day, name, named)
    screen = console()
    screen.print(grid)
    total = sum(stored.bytes for stored, _, _ in stock.files)
    screen.print(Text(f"{stock.folder}: {len(stock.files)} files, {size(total)}"), soft_wrap=True)
