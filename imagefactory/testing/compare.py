"""Whether one test wrote the same in two kinds of image.

Lines are compared, not their order, for processes that write at the same time write in any order. What says
nothing of the application is taken out: dates, times, how long something took, process numbers, addresses in
memory, temporary names, the user, and the names of folders. What still differs may differ between any two
runs: so the first kind of image runs the test again, twice at most, and lines of a shape that differs there
are left out too.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from imagefactory.testing.subject import SOMEBODY

_ATTEMPTS = 2  # to see a line vary in Docker
_SHOWN = 2  # lines of each side, in a complaint
_LINE = 160  # characters of each

_DAYS = "Mon|Tue|Wed|Thu|Fri|Sat|Sun"
_MONTHS = "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec"
_FOLLOWED = r"(?=,? +(?:\d{4}\b|\d{1,2}:\d\d))"  # by a year or a time of day
# Other numbers of seconds may be science: the period of a star.
_TIMED = re.compile(
    r"(?i)\b(took|elapsed|runtime|run ?time|wall|cpu|(?:finish|complet)ed in|done in|total time)\b"
)
_DURATION = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?:e[-+]?\d+)? ?(?:s|ms|us|sec|secs|seconds?|minutes?)\b")
_NOISE = tuple(
    (re.compile(pattern), word)
    for pattern, word in (
        (r"\x1b\[[0-9;?]*[A-Za-z]", ""),
        (r"\[[\d:]+<[\d:?]+, .*?/(?:s|it)\]", "<progress>"),  # of tqdm
        (r"\d{4}-\d\d-\d\d(?!\d)", "<date>"),
        (rf"\b(?:(?:{_DAYS}),? +)?(?:{_MONTHS}) +\d{{1,2}}\b{_FOLLOWED}", "<date>"),
        (r"(?<![\d:])\d{1,2}:\d\d:\d\d(?:[.,]\d+)?(?: ?[AP]M)?", "<time>"),
        (r"\b0x[0-9a-f]{6,}\b", "<address>"),
        (r"(?i)\b(pid|process)[ =:]*\d+", r"\1 <number>"),
        (r"/mnt/home|/tmp/home-\d+", "<home>"),
        (r"/mnt/work|/work\b", "<work>"),
        (r"/(?:var/)?tmp/[\w.+-]+", "<temporary>"),
        # The account that tests run as: a name on clusters, which have accounts, and a number in Docker.
        (rf"\bresearchers?\b|\b{SOMEBODY[0]}\b|\b{SOMEBODY[1]}\b", "<user>"),
    )
)


def difference(
    expected: str, said: str, again: Callable[[], str], varies: Sequence[str] = (), where: str = "Docker"
) -> str:
    """What ``said`` says otherwise than ``expected``, which was said by ``where``, in words; nothing where
    they agree.

    ``again`` runs the test that said ``expected`` once more; lines that match ``varies`` may differ.
    """
    ours, theirs = _lines(expected, varies), _lines(said, varies)
    if ours == theirs:
        return ""
    unsteady: set[str] = set()
    for _ in range(_ATTEMPTS):  # by chance two runs may agree where others do not
        once_more = _lines(again(), varies)
        unsteady |= {_shape(line) for line in (ours - once_more) + (once_more - ours)}
        if unsteady >= {_shape(line) for line in (ours - theirs) + (theirs - ours)}:
            break
    missing = [line for line in (ours - theirs) if _shape(line) not in unsteady]
    added = [line for line in (theirs - ours) if _shape(line) not in unsteady]
    parts = []
    if missing:
        parts.append(f"only {where}'s output has {_some(missing)}")
    if added:
        parts.append(f"only this one's has {_some(added)}")
    return "; ".join(parts)


def _lines(text: str, varies: Sequence[str]) -> Counter[str]:
    # Of a line that is written over, as a progress bar is, the last is what a terminal shows.
    lines = (line.rstrip().rpartition("\r")[2] for line in text.split("\n"))
    kept = (line for line in lines if line and not any(re.search(pattern, line) for pattern in varies))
    return Counter(_quiet(line) for line in kept)


def _quiet(line: str) -> str:
    if _TIMED.search(line):
        line = _DURATION.sub("<duration>", line)
    for pattern, word in _NOISE:
        line = pattern.sub(word, line)
    return line


def _shape(line: str) -> str:
    """A line without its numbers."""
    return re.sub(r"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?", "#", line)


def _some(lines: Iterable[str]) -> str:
    listed = list(lines)
    more = f" and {len(listed) - _SHOWN} more lines" if len(listed) > _SHOWN else ""
    return ", ".join(repr(line[:_LINE]) for line in listed[:_SHOWN]) + more
