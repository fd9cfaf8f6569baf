"""A question to a resolver in a sandbox: asked again where the network was at fault, its answer bounded."""

from __future__ import annotations

import re
import tempfile
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from imagefactory.errors import BuildFailed, DiskFull
from imagefactory.inputs.protocol import Means
from imagefactory.sandbox import Errand, run_errand
from imagefactory.system import retry
from imagefactory.system.redact import harmless, redact

_KEPT = 200  # lines of what a resolver says
_LETTERS = 2000  # of each
_MAX_WORDS = 250  # letters of one of them, in a message
_FULL = ("no space left on device", "file too large", "file size limit exceeded")

Failure = Callable[[Sequence[str], str, Means], BuildFailed]
"""What a resolver's last lines mean, for what was asked, where no upstream was at fault."""


def answer_of(errand: Errand, means: Means, failure: Failure, most: int, *, whole: bool = False) -> bytes:
    """What an errand answers, at most that many bytes. With ``whole`` it is no answer where an upstream
    failed, though the errand went on without it.

    Raises NetworkFault where an upstream could not be reached, whatever the errand made of that; else what
    ``failure`` makes of its words, or another kind of BuildFailed.
    """

    def once() -> bytes:
        with tempfile.TemporaryFile(dir=means.scratch) as answer:
            run_or_raise(errand, means, failure, answer, whole=whole)
            if (size := answer.seek(0, 2)) > most:
                raise BuildFailed(
                    f"{errand.what}: an answer of {size} bytes is none: {most} are the most",
                    hint="what comes from outside may do that on purpose: look at the log",
                )
            with reopened(answer) as content:
                return content.read()

    return retry.on_network_fault(
        once,
        before_retry=means.log.line,
        wait=means.stop.wait,
        pause=means.site.settings.retry_pause,
    )


def reopened(answer: IO[bytes]) -> IO[bytes]:
    """An errand's answer from its beginning, opened anew: the errand may have changed how it is open
    (O_DIRECT).
    """
    return Path(f"/proc/self/fd/{answer.fileno()}").open("rb")


def first_words(lines: Sequence[str], begin: str, cause: str) -> str:
    """What a program says first of what went wrong, in a line that begins so, a regular expression, and the
    last of its causes: one line.
    """
    said = [line.strip() for line in lines]
    found = [line[match.end() :] for line in said if (match := re.match(begin, line))]
    first = found[0] if found else "it does not say why"
    causes = [line.removeprefix(cause) for line in said if line.startswith(cause)]
    return ": ".join(harmless(each.strip())[:_MAX_WORDS] for each in (first, *causes[-1:]))


def run_or_raise(
    errand: Errand, means: Means, failure: Failure, answer: IO[bytes], *, whole: bool = False
) -> None:
    """Run an errand once. Raises as ``answer_of`` does."""
    lines: deque[str] = deque(maxlen=_KEPT)

    def hear(line: str) -> None:
        line = errand.relay.readable(line) if errand.relay else line
        if line.strip():
            lines.append(redact(line[:_LETTERS]))
        means.log.line(line)

    status = run_errand(errand, hear, means.stop, means.scratch, answer)
    fault = errand.relay.fault if errand.relay else None
    if not status and not (whole and fault):
        return
    if isinstance(fault, BuildFailed):
        fault.tail, fault.log = tuple(lines)[-8:], means.log.path
        fault.hint = fault.hint or "try again later, or name a mirror in site.yaml"
        raise fault
    if any(words in line.lower() for line in lines for words in _FULL):
        raise DiskFull(
            f"{errand.what}: its files would take more than {errand.limits.disk >> 20} MiB, or half of the "
            "memory",
            hint="files of a sandbox are in memory: if they are really so large, use a larger machine",
            tail=tuple(lines)[-8:],
            log=means.log.path,
        )
    raise failure(tuple(lines), errand.what, means)
