"""Values of a recipe's environment as shell words. ``${HOME}`` in them is the home of whoever runs."""

from __future__ import annotations

import re
import shlex

_HOME = re.compile(r"(\$\{HOME\})")


def uses_home(value: str) -> bool:
    """Whether the value is known only at run time."""
    return bool(_HOME.search(value))


def shell_word(value: str) -> str:
    """``value`` as one word of a POSIX shell; only ``${HOME}`` is left to expand."""
    parts = (part for part in _HOME.split(value) if part)
    return "".join('"${HOME}"' if _HOME.fullmatch(part) else shlex.quote(part) for part in parts) or "''"
