"""Packer, through packer-py: a template's build, heard line by line, and ended when it has to."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from packerpy import PackerExecutable

from imagefactory.errors import BuildFailed, EngineError
from imagefactory.system.environment import child_environment
from imagefactory.system.log import Log
from imagefactory.system.processes import Stop, run, which
from imagefactory.targets.vm.heard import Heard

_PATIENCE = 60.0  # seconds that an interrupted Packer has to take away what it started


def packer_version() -> str:
    """Packer's version. Raises EngineError where it is missing."""
    place = which("packer")
    if place is None:
        raise EngineError(
            "Packer, which builds VM images, is not installed",
            hint="run ci/setup vm, or install Packer 1.6 or newer",
        )
    said = run([place, "version"]).stdout.split()
    return next((word.removeprefix("v") for word in said if word.startswith("v")), "unknown")


def build(folder: Path, only: str, variables: Mapping[str, str], scratch: Path, log: Log, stop: Stop) -> None:
    """Build the template in ``folder`` with one of its sources. Packer's temporary files are in ``scratch``.

    On a stop Packer is interrupted, so that it takes away what it started, and killed where it does not.
    Raises BuildFailed with the last words of the script that failed, or Packer's own errors; EngineError
    where it is missing; or Interrupted.
    """
    packer_version()
    with _Started(scratch) as started:
        heard = Heard(log)
        packer = PackerExecutable(
            executable_path=str(started.program), machine_readable=True, config={"stdout": started.output}
        )
        reader = threading.Thread(target=started.read, args=(heard,), daemon=True)
        reader.start()
        with stop.ends(started.interrupt):
            # Its variables are words of a command, which everybody sees: none is a secret.
            status, _, said = packer.build(str(folder), only=only, var=dict(variables))
        started.close()
        reader.join()
        stop.check()
        if status:
            said_last = [line for line in said.decode("utf-8", "replace").splitlines() if line][-1:]
            why = heard.why() or " ".join(said_last) or f"it ended with {status}"
            raise BuildFailed(
                f"{log.id}: Packer failed: {why}",
                hint="its last lines are below, and all of them in the log",
                step=heard.step,
                tail=heard.tail(),
                log=log.path,
            )


class _Started:
    """What Packer is started through: a program that says which process it is, gives it an environment of its
    own and a process group, and has it interrupted when we end.
    """

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._number = scratch / "packer.pid"
        self.program = scratch / "start-packer"
        self._read, self.output = os.pipe()
        self._folder = os.open(scratch, os.O_PATH | os.O_DIRECTORY)
        self._closed = False

    def __enter__(self) -> _Started:
        packer = which("packer")
        assert packer
        settings = {
            **child_environment(),
            # It makes sockets there, whose names may have a hundred letters; a checkout's path may have more.
            "TMPDIR": f"/proc/{os.getpid()}/fd/{self._folder}",
            "PACKER_CACHE_DIR": str(self._scratch / "packer-cache"),
            "CHECKPOINT_DISABLE": "1",
        }
        words = ["env", "-i", *(f"{name}={value}" for name, value in settings.items())]
        words += ["setpriv", "--pdeathsig", "INT", "--", "setsid", packer]
        script = f'#!/bin/sh\necho $$ >{shlex.quote(str(self._number))}\nexec {shlex.join(words)} "$@"\n'
        self.program.write_text(script)
        self.program.chmod(0o700)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        self._kill(signal.SIGKILL)
        os.close(self._read)
        os.close(self._folder)

    def close(self) -> None:
        """Our end of Packer's output, so that whoever reads it comes to its end."""
        if not self._closed:
            self._closed = True
            os.close(self.output)

    def read(self, heard: Heard) -> None:
        with os.fdopen(os.dup(self._read), encoding="utf-8", errors="replace") as lines:
            for line in lines:
                heard(line)

    def interrupt(self) -> None:
        """Have it end, by itself if it can."""
        threading.Thread(target=self._end, daemon=True).start()

    def _end(self) -> None:
        until = time.monotonic() + _PATIENCE
        while not self._number.is_file() and time.monotonic() < until:  # it was only just started
            time.sleep(0.1)
        self._kill(signal.SIGINT)
        while self._lives() and time.monotonic() < until:
            time.sleep(0.1)
        self._kill(signal.SIGKILL)

    def _lives(self) -> bool:
        return any(True for _ in self._group())

    def _kill(self, what: signal.Signals) -> None:
        for group in self._group():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, what)

    def _group(self) -> Iterator[int]:
        """Its process group, where something of it runs."""
        with contextlib.suppress(OSError, ValueError):
            group = int(self._number.read_text())
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, 0)
                yield group
