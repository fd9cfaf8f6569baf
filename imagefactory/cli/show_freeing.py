"""What can be freed, on the screen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from imagefactory.cli.text import console, size, table

if TYPE_CHECKING:
    from imagefactory.drive.freeing import Item


def show_items(items: Sequence[Item]) -> None:
    """A line for each, with its bytes of disk."""
    screen = console()
    if not items:
        screen.print("there is nothing to be freed")
        return
    grid = table("image", "what", "size", "why", wraps=["what", "why"])
    for item in items:
        grid.add_row(item.name, item.what, size(item.bytes), item.why)
    screen.print(grid)
