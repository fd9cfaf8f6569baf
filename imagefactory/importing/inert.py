"""Texts of others in comments and messages: in one line, and with nothing that a screen or a shell obeys."""

from __future__ import annotations

from imagefactory.importing.steps import DOLLAR


def inert(text: str, most: int = 1000) -> str:
    """A text in one line: white space of any kind is a space, other control characters are escaped."""
    shown = "".join(_shown(each) for each in text.replace(DOLLAR, "$"))
    return shown if len(shown) <= most else f"{shown[: most - 3].rstrip()}..."


def _shown(each: str) -> str:
    if each.isprintable():
        return each
    return " " if each.isspace() else each.encode("unicode_escape").decode("ascii")
