"""What Packer says, line by line: its steps as they begin, and at a failure whose words explain it."""

from __future__ import annotations

import re
from collections import deque

from imagefactory.system.log import TAIL_LINES, Log
from imagefactory.system.redact import harmless

_STEP = re.compile(r"^==> \S+: (?=[A-Z])(.*)")
_SCRIPT = re.compile(r"^Provisioning with shell script: (?:.*/)?(\S+)$")
_ENDED = "Provisioning step had errors"
_SPOKEN = re.compile(r"^(?:==>|   ) [^ :]+: ")
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_COMPLAINTS = 5


class Heard:
    """Follows Packer's machine-readable output: time,target,type,data
    (https://developer.hashicorp.com/packer/docs/commands#machine-readable-output).

    ``errors`` are Packer's own. What a script writes to its standard error comes between them, and before or
    after what it writes otherwise: both are told apart by the step.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self.step = ""
        self.errors: list[str] = []
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._script = ""  # that runs
        self._failed = ""  # that failed
        self._spoken: deque[str] = deque(maxlen=TAIL_LINES)
        self._complaints: deque[str] = deque(maxlen=_COMPLAINTS)

    def __call__(self, line: str) -> None:
        """Take a line of it."""
        parts = line.rstrip("\n").split(",", 4)
        if len(parts) < 5 or parts[2] != "ui":
            return
        kind, text = parts[3], _plain(parts[4])
        for each in filter(str.strip, text.splitlines()):
            self._tail.append(each)
            match = _STEP.match(each) if kind == "say" else None
            if match:
                self._begin(match[1].rstrip("."))
            else:
                self._log.line(each)
                self._sort(kind, each)

    def why(self) -> str:
        """Why it failed, in a line, as far as it is known: a script's own words before Packer's."""
        last = self.errors[-1] if self.errors else ""
        if not self._failed:
            return last
        said = self._complaints or self._spoken
        return f"{self._failed} failed: {said[-1] if said else last}"

    def tail(self) -> list[str]:
        """The last lines that explain a failure: the script's, where one failed."""
        if not self._failed or not (self._spoken or self._complaints):
            return list(self._tail)
        lost = [each for each in self._complaints if each not in self._spoken]
        return [*lost, *self._spoken]

    def _begin(self, step: str) -> None:
        if step.startswith(_ENDED):
            self._failed, self._script = self._script, ""
        elif script := _SCRIPT.match(step):
            self._script = script[1]
            self._spoken.clear()
            self._complaints.clear()
        self.step = step
        self._log.step(step)

    def _sort(self, kind: str, line: str) -> None:
        """What a running script says, or Packer's own error."""
        spoken = _SPOKEN.match(line)
        if self._script and spoken:
            text = harmless(line[spoken.end() :].strip())
            self._spoken.append(text)
            if kind == "error":
                self._complaints.append(text)
        elif kind == "error":
            self.errors.append(harmless(line.strip()))


def _plain(text: str) -> str:
    for word, meant in (("%!(PACKER_COMMA)", ","), ("\\n", "\n"), ("\\r", "\n")):
        text = text.replace(word, meant)
    return _COLOURS.sub("", text)
