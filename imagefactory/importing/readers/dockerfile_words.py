"""Words of Dockerfiles: what is literal in them, and which lines Docker joins before a shell sees them."""

from __future__ import annotations

import re
from collections.abc import Iterable

from imagefactory.importing.steps import DOLLAR


def escape_of(lines: Iterable[str]) -> str:
    """The sign that escapes and continues lines: a backslash, unless a directive at the top says another."""
    for line in lines:
        found = re.match(r"\s*#\s*(\w+)\s*=\s*(.*?)\s*$", line)
        if found is None:
            break
        if found[1].lower() == "escape" and found[2] in ("`", "\\"):
            return found[2]
    return "\\"


def continued(line: str, escape: str) -> str | None:
    """A line that goes on in the next, with a backslash at its end whatever said so; None for another."""
    sign = re.escape(escape)
    cut = re.sub(rf"(?<!{sign}){sign}[ \t]*$", "", line)
    return None if cut == line else f"{cut}\\"


def flat(text: str) -> str:
    """Continued lines in one."""
    return text.replace("\\\n", "").strip()


def for_shell(text: str) -> str:
    """Commands with continued lines joined where a shell would not: in single quotes, in comments."""
    found: list[str] = []
    mode, at = "", 0
    while at < len(text):
        each = text[at : at + 2] if text[at] == "\\" and mode not in ("'", "#") else text[at]
        at += len(each)
        if mode in ("'", "#") and text.startswith("\\\n", at - 1):
            at += 1
            continue
        if mode:
            mode = "" if each == ("\n" if mode == "#" else mode) else mode
        elif each in ("'", '"') or (each == "#" and (not found or found[-1][-1] in " \t\n;")):
            mode = each
        found.append(each)
    return "".join(found)


def words_of(text: str, escape: str) -> list[str]:
    """The words of a line, without their quotes; a dollar sign that is escaped begins no variable.

    Raises ValueError where a quote does not end.
    """
    found: list[str] = []
    current: list[str] = []
    begun = False
    for sign, literal in _signs(text, escape):
        if not literal and sign.isspace():
            found += ["".join(current)] if begun else []
            current, begun = [], False
        else:
            current.append(DOLLAR if literal and sign == "$" else sign)
            begun = True
    return [*found, "".join(current)] if begun else found


def word_of(text: str, escape: str) -> str:
    """A text that is one word, spaces and all."""
    try:
        signs = list(_signs(text, escape))
    except ValueError:
        return text
    return "".join(DOLLAR if literal and sign == "$" else sign for sign, literal in signs)


def _signs(text: str, escape: str) -> list[tuple[str, bool]]:
    """Each character, and whether it is literal; nothing of the quotes but that there was a word."""
    found: list[tuple[str, bool]] = []
    mode, at = "", 0
    while at < len(text):
        sign, after = text[at], text[at + 1 : at + 2]
        at += 1
        if mode == "" and sign in "'\"":
            mode = sign
            found.append(("", True))
        elif mode and sign == mode:
            mode = ""
        elif sign == escape and after and (mode == "" or (mode == '"' and after in ('"', "$", escape))):
            found.append((after, True))
            at += 1
        else:
            found.append((sign, mode == "'" or (mode == '"' and sign != "$")))
    if mode:
        raise ValueError("a quote that does not end")
    return found
