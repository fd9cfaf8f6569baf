"""Shell scripts, cut into commands as far as that can be done for sure; nothing is run."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

_OPENS = {"if": "fi", "for": "done", "while": "done", "until": "done", "case": "esac", "select": "done"}
_HEREDOC = re.compile(r"<<(-?)\s*(['\"]?)([A-Za-z_][A-Za-z0-9_]*)\2")
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=", re.ASCII)
_CLOSES = {"(": ")", "{": "}"}


class Unreadable(Exception):
    """A script that ends within quotes or brackets, or closes what is not open."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One command of a script: its text, and its words in each program of its pipeline.

    There are no words where it is more than that: a loop, an alternative, a function, a document.
    """

    text: str
    pipeline: tuple[tuple[str, ...], ...] = ()

    @property
    def words(self) -> tuple[str, ...]:
        """Those of its only program; none where there are several."""
        return self.pipeline[0] if len(self.pipeline) == 1 else ()


def statements(script: str) -> list[Statement]:
    """The commands that follow each other by ``&&``, ``;`` or lines. Raises Unreadable."""
    return [_statement(text) for text in _joined(_pieces(script)) if text]


def _statement(text: str) -> Statement:
    if text.startswith("#"):
        return Statement(text)
    first = re.split(r"[\s;(]", text, maxsplit=1)[0]
    if first in _OPENS or first in ("{", "(", "function", "!") or text[0] in "({" or "\n" in _flat(text):
        return Statement(text)
    try:
        programs = _cut(_flat(text), ("|",))
        if any(sign in _bare(text) for sign in ("||", "<<", "&>", "$(", "`", "<(")):
            return Statement(text)
        if re.search(r"(?<![>&])&(?![>&\d])", _bare(text)):
            return Statement(text)
        pipeline = tuple(tuple(shlex.split(program, comments=True)) for program, _ in programs)
    except ValueError:
        return Statement(text)
    return Statement(text, pipeline if all(pipeline) else ())


def _flat(text: str) -> str:
    return re.sub(r"\\\n\s*", " ", text)


def _bare(text: str) -> str:
    """Without what stands in quotes: there these signs mean nothing, but for ``$(`` in double quotes."""
    text = re.sub(r"\\.", "", _flat(text))
    text = re.sub(r"'[^']*'", "", text)
    return re.sub(r'"[^"]*"', lambda quoted: "$(" if re.search(r"\$\(|`", quoted[0]) else "", text)


def _pieces(script: str) -> list[tuple[str, str]]:
    cut = _cut(script, ("&&", ";", "\n"))
    return [(re.sub(r"\\\n\s*$", "", re.sub(r"^(\s*\\\n)+", "", piece)).strip(), sign) for piece, sign in cut]


def _cut(script: str, signs: tuple[str, ...]) -> list[tuple[str, str]]:
    """The parts of a script outside quotes and brackets, each with the sign that follows it."""
    found: list[tuple[str, str]] = []
    start = at = 0
    inside: list[str] = []
    pending: list[tuple[str, bool]] = []
    while at < len(script):
        sign = "" if inside else next((sign for sign in signs if script.startswith(sign, at)), "")
        if sign in (";", "|") and script.startswith((";;", "||", "|&"), at):
            at += 2
        elif pending and script[at] == "\n":
            at = _after_documents(script, at + 1, pending)
        elif sign:
            found.append((script[start:at], sign))
            at += len(sign)
            start = at
        else:
            at += _step(script, at, inside, pending)
    if inside or pending:
        raise Unreadable
    return [*found, (script[start:], "")]


def _step(script: str, at: int, inside: list[str], pending: list[tuple[str, bool]]) -> int:
    """How far the next sign reaches; what it opens and closes is noted."""
    sign, mode = script[at], inside[-1] if inside else ""
    if mode == "'":
        inside[-1:] = [] if sign == "'" else [mode]
        return 1
    if sign == "\\":
        return 2
    if mode == sign and sign in '"`)}':
        inside.pop()
    elif script.startswith(("$(", "${"), at):
        inside.append(_CLOSES[script[at + 1]])
        return 2
    elif sign in '"`' or (sign == "'" and mode != '"'):
        inside.append(sign)
    elif mode != '"':
        return _outside_quotes(script, at, inside, pending)
    return 1


def _outside_quotes(script: str, at: int, inside: list[str], pending: list[tuple[str, bool]]) -> int:
    sign, before = script[at], script[at - 1] if at else "\n"
    if sign == "#" and before in " \t\n;":
        end = script.find("\n", at)
        return (end if end >= 0 else len(script)) - at
    if sign == ")" and "case" not in script:
        raise Unreadable
    if sign == "(" and "}" not in inside:
        inside.append(")")
    elif sign == "{" and before in " \t\n;" and script[at + 1 : at + 2] in (" ", "\n"):
        inside.append("}")
    elif (document := _HEREDOC.match(script, at)) and script[at : at + 3] != "<<<" and before != "<":
        pending.append((document[3], bool(document[1])))
        return len(document[0])
    return 1


def _after_documents(script: str, at: int, pending: list[tuple[str, bool]]) -> int:
    """Where the documents end that begin in the line before."""
    for word, tabs in pending:
        while at < len(script):
            line, _, _ = script[at:].partition("\n")
            at += len(line) + 1
            if (line.lstrip("\t") if tabs else line) == word:
                break
        else:
            raise Unreadable
    pending.clear()
    return min(at, len(script)) - (1 if at <= len(script) else 0)


def _joined(pieces: list[tuple[str, str]]) -> list[str]:
    """Loops and conditions in one piece again."""
    found: list[str] = []
    open_words: list[str] = []
    kept = ""
    for piece, sign in pieces:
        words = re.split(r"[\s()]+", _no_quotes(piece))
        for word in words:
            if word in _OPENS:
                open_words.append(_OPENS[word])
            elif open_words and word == open_words[-1]:
                open_words.pop()
            if word not in ("then", "do", "else", "!", "{", "", "elif", *_OPENS):
                break
        if open_words and len(words) > 1 and words[-1] == open_words[-1]:
            open_words.pop()
        kept += piece
        if not open_words:
            found.append(kept)
            kept = ""
        else:
            kept += {"\n": "\n", "&&": " && ", ";": "; "}.get(sign, "")
    if open_words:
        raise Unreadable
    return found


def _no_quotes(piece: str) -> str:
    return re.sub(r"'[^']*'|\"[^\"]*\"", "q", piece)


def is_assignment(word: str) -> bool:
    """Whether a word gives a variable its value."""
    return bool(_ASSIGNMENT.match(word))


def expand(word: str, known: dict[str, str]) -> str:
    """A word with those variables filled in that are known."""

    def value(found: re.Match[str]) -> str:
        name = found[1] or found[2]
        return known.get(name, found[0])

    return re.sub(r"\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))", value, word)


def programs(text: str) -> list[str]:
    """The programs of a pipeline, as they stand there."""
    return [piece.strip() for piece, _ in _cut(_flat(text), ("|",))]
