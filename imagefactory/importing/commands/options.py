"""The words of a command: its options with their values, and the rest."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence

_REDIRECTION = re.compile(r"(\d?|&)(>>?|<)(.*)")
TO_FILE = ">"


def options(words: Sequence[str], taking: Collection[str]) -> Iterator[tuple[str, str]]:
    """Each option, with its value where it is one of those that take one; other words stand under no option.

    Letters behind one hyphen are options each. What standard output is written to stands under ``TO_FILE``.
    """
    todo = list(words)
    while todo:
        word = todo.pop(0)
        if found := _REDIRECTION.fullmatch(word):
            target = found[3] or (todo.pop(0) if todo else "")
            if found[2] != "<" and found[1] in ("", "1", "&") and not target.startswith("&"):
                yield TO_FILE, target
        elif word.startswith("--"):
            key, _, value = word.partition("=")
            if key in taking and not value and todo:
                value = todo.pop(0)
            yield key, value
        elif word.startswith("-") and len(word) > 1:
            yield from _letters(word, taking, todo)
        else:
            yield "", word


def _letters(word: str, taking: Collection[str], todo: list[str]) -> Iterator[tuple[str, str]]:
    for at, letter in enumerate(word[1:], 1):
        key, rest = f"-{letter}", word[at + 1 :]
        if key in taking:
            yield key, rest.removeprefix("=") or (todo.pop(0) if todo else "")
            return
        yield key, ""
