"""Texts of foreign recipes as one word of a shell."""

from __future__ import annotations

import re
import shlex

from imagefactory.importing.steps import DOLLAR

_VARIABLE = re.compile(r"(\$[A-Za-z_]\w*|\$\{[A-Za-z_]\w*(?::[-+][\w ./:@+,=-]*)?\})", re.ASCII)
_OF_A_SHELL = re.compile(r"(\$\w+|\$\{[^{}\"'`\\$]+\})", re.ASCII)


def word(text: str) -> str:
    """A text in which variables are filled in, and everything else is literal."""
    return _word(text, _VARIABLE)


def word_of_shell(text: str) -> str:
    """A word of a command, without its quotes: variables may be said in all ways that a shell has."""
    return _word(text, _OF_A_SHELL)


def _word(text: str, variable: re.Pattern[str]) -> str:
    if not variable.search(text):
        return shlex.quote(text.replace(DOLLAR, "$"))
    parts = variable.split(text)
    return '"' + "".join(part if at % 2 else _literal(part) for at, part in enumerate(parts)) + '"'


def _literal(text: str) -> str:
    return re.sub(r'([\\"`$])', r"\\\1", text.replace(DOLLAR, "$"))
