"""Whether one test wrote the same in two kinds of image.

Lines are compared, not their order, for processes that write at the same time write in any order. What says
nothing of the application is taken out: times of day, durations, process numbers, addresses in memory,
temporary names and the names of folders. What still differs may differ between any two runs: so the first
kind of image runs the test once more, and lines of a shape that differs there are left out too.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

_SHOWN = 2  # lines of each side, in a complaint
_LINE = 160  # characters of each

_DAYS = "Mon|Tue|Wed|Thu|Fri|Sat|Sun"
_MONTHS = "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec"
_NOISE = tuple(
    (re.compile(pattern), word)
    for pattern, word in (
        (r"\x1b\[[0-9;?]*[A-Za-z]", ""),
        (r"\d{4}-\d\d-\d\d(?!\d)", "<date>"),
        (rf"\b(?:(?:{_DAYS})\w*,? +)?(?:{_MONTHS})\w* +\d{{1,2}}\b", "<date>"),
        (r"(?<![\d:])\d{1,2}:\d\d:\d\d(?:[.,]\d+)?(?: ?[AP]M)?", "<time>"),
        (r"(?<![\w.])\d+(?:\.\d+)?(?:e[-+]?\d+)? ?(?:s|ms|us|sec|secs|seconds?|minutes?)\b", "<duration>"),
        (r"\b0x[0-9a-f]{6,}\b", "<address>"),
        (r"(?i)\b(pid|process)[ =:]*\d+", r"\1 <number>"),
        (r"/mnt/home|/tmp/home-\d+", "<home>"),
        (r"/mnt/work|/work\b", "<work>"),
        (r"/(?:var/)?tmp/[\w.+-]+", "<temporary>"),
    )
)


def difference(expected: str, found: str, again: Callable[[], str], varies: Sequence[str] = ()) -> str:
    """What ``found`` says otherwise than ``expected``, in words; nothing where they agree.

    ``again`` runs the test that said ``expected`` once more; lines that match ``varies`` may differ.
    """
    ours, theirs = _lines(expected, varies), _lines(found, varies)
    if ours == theirs:
        return ""
    once_more = _lines(again(), varies)
    unsteady = {_shape(line) for line in (ours - once_more) + (once_more - ours)}
    missing = [line for line in (ours - theirs) if _shape(line) not in unsteady]
    added = [line for line in (theirs - ours) if _shape(line) not in unsteady]
    parts = []
    if missing:
        parts.append(f"only Docker's output has {_some(missing)}")
    if added:
        parts.append(f"only this one's has {_some(added)}")
    return "; ".join(parts)


def _lines(text: str, varies: Sequence[str]) -> Counter[str]:
    lines = (line.rstrip() for line in re.split(r"[\r\n]+", text))
    kept = (line for line in lines if line and not any(re.search(pattern, line) for pattern in varies))
    return Counter(_quiet(line) for line in kept)


def _quiet(line: str) -> str:
    for pattern, word in _NOISE:
        line = pattern.sub(word, line)
    return line


def _shape(line: str) -> str:
    """A line without its numbers."""
    return re.sub(r"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?", "#", line)


def _some(lines: Iterable[str]) -> str:
    found = list(lines)
    more = f" and {len(found) - _SHOWN} more lines" if len(found) > _SHOWN else ""
    return ", ".join(repr(line[:_LINE]) for line in found[:_SHOWN]) + more
