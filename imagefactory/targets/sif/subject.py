"""A SIF file under test: each command runs as an ordinary user of a cluster runs it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Literal

from imagefactory.errors import EngineError
from imagefactory.model.report import MemoryReport
from imagefactory.system.files import make_folder
from imagefactory.system.memory import bounded, way
from imagefactory.system.processes import Stop, attach, stream
from imagefactory.targets.sif.engine import runtime_path
from imagefactory.targets.sif.foreign import FOREIGN
from imagefactory.targets.sif.inspect import inspect
from imagefactory.testing.subject import MIB, Call, Outcome

ROOM = "/mnt"
WORK = f"{ROOM}/work"
ROOM_BYTES = 64 * MIB  # of the home folder and of /tmp, each
ENGINE_BYTES = 256 * MIB  # of Apptainer and what it starts beside the command; it takes 160 to start at all
MAX_OUTPUT_BYTES = 8 * MIB  # the last of a command's output, as far as tests look at it
GRACE_SECONDS = 60.0
_DROP = ("--inh-caps=-all", "--ambient-caps=-all", "--")


Action = Literal["exec", "run", "test", "run-help"]
"""How a command starts: by itself or through the run script; or the image's own test or help is asked for."""


class SifSubject:
    """Runs commands in a SIF file, without privileges, within the bounds of a call.

    ``outside`` names variables that stand in the caller's environment with values of another machine's
    software, as after ``module load``. Memory is bounded as well as this machine can (``memory`` says how),
    but not that of a person who looks around in it.
    """

    local = True

    def __init__(self, sif: Path, outside: Sequence[str], scratch: Path, stop: Stop, nvidia: bool) -> None:
        self._room = scratch / "room"
        self._sif = sif
        self._outside = (*dict.fromkeys((*FOREIGN, *outside)),)
        self._stop = stop
        self.nvidia = nvidia  # whether it runs with a GPU
        self._runtime = str(runtime_path())

    @cached_property
    def _facts(self) -> Mapping[str, Any]:
        return inspect(self._sif)

    @property
    def memory(self) -> MemoryReport:
        """How memory is bounded here."""
        return MemoryReport(how=way().how, together=way().together)

    def labels(self) -> Mapping[str, str]:
        """The image's labels."""
        labels: Mapping[str, str] = self._facts["labels"]
        return labels

    def run(self, call: Call) -> Outcome:
        """Run one command and return how it ended. Raises EngineError, or Interrupted on a stop."""
        return self.start(call)

    def given(self, options: Sequence[str]) -> GivenOptions:
        """The same file, run with more words for Apptainer."""
        return GivenOptions(self, tuple(options))

    def start(self, call: Call, options: Sequence[str] = (), through: Action = "exec") -> Outcome:
        """Run one command, or another action of Apptainer's. Raises EngineError, or Interrupted on a stop."""
        self._stop.check()
        user = call.user if os.getuid() == 0 else (os.getuid(), os.getgid())
        lines: list[str] = []
        start = time.monotonic()
        make_folder(self._room)
        with (
            as_file(files(__package__) / "templates" / "sandbox.sh") as sandbox,
            bounded(call.memory_limit + ENGINE_BYTES, _tmpfs_bytes(call)) as bound,
        ):
            command = self._command(call, user, options, through)
            status = stream(
                [*bound.prefix, *_namespaces(), "sh", str(sandbox), *command],
                lines.append,
                stop=self._stop,
                environment=self._bounds(call, user),
                newline="\n",
            )
            return _outcome(call, status, lines, time.monotonic() - start, bound.exceeded)

    def enter(self, call: Call) -> int:
        """Run a command on the caller's terminal, which it has for as long as it likes; its exit status."""
        user = call.user if os.getuid() == 0 else (os.getuid(), os.getgid())
        make_folder(self._room)
        terminal = {"ATTACHED": "yes"}
        with as_file(files(__package__) / "templates" / "sandbox.sh") as sandbox:
            return attach(
                [*_namespaces(), "sh", str(sandbox), *self._command(call, user, (), "exec", bounded=False)],
                environment={**self._bounds(call, user), **terminal},
            )

    def _command(
        self,
        call: Call,
        user: tuple[int, int],
        given: Sequence[str],
        through: Action,
        *,
        bounded: bool = True,
    ) -> list[str]:
        """The words that the sandbox runs: as that user, with that user's environment, and not for long where
        that is ``bounded``.
        """
        terminal = "dumb" if bounded else os.environ.get("TERM", "dumb")
        drop = [f"--reuid={user[0]}", f"--regid={user[1]}", "--clear-groups"] if os.getuid() == 0 else []
        outside = [f"{name}=/somewhere/outside" for name in self._outside]
        options = [*given]
        for place, mount in enumerate(call.mounts):
            how = "rw" if mount.writable else "ro"
            options.append(f"--bind={ROOM}/binds/{place}:{mount.target}:{how}")
        if given:  # some of them leave the working folder outside
            options += [f"--bind={WORK}:{WORK}", f"--pwd={WORK}"]
        options += [f"--env={name}={value}" for name, value in call.environment.items()]
        options += ["--nv"] * self.nvidia
        return [
            *("setpriv", *drop, *_DROP),
            *("env", "-i", f"HOME={ROOM}/home", "USER=researcher", "LOGNAME=researcher", f"TERM={terminal}"),
            *("PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8", *outside),
            *(("timeout", "-k", "5", str(call.time_limit)) if bounded else ()),
            *(self._runtime, "--silent", through, *options, f"{ROOM}/image.sif", *call.command),
        ]

    def _bounds(self, call: Call, user: tuple[int, int]) -> dict[str, str]:
        return {
            "ROOM": str(self._room),
            "IMAGE": str(self._sif),
            "CALLER": f"{user[0]}:{user[1]}",
            "WORK_BYTES": str(call.write_limit),
            "ROOM_BYTES": str(ROOM_BYTES),
            "OUTPUT_BYTES": str(MAX_OUTPUT_BYTES),
            "FOLDER": str(call.in_folder or ""),
            "BINDS": "".join(f"{n}:{mount.source}\n" for n, mount in enumerate(call.mounts)),
            "EXPECT": "".join(f"{file}\n" for file in call.expect),
        }


@dataclass
class GivenOptions:
    """A SIF file under test, run with ``options`` of Apptainer."""

    subject: SifSubject
    options: tuple[str, ...]
    local: bool = True

    def run(self, call: Call) -> Outcome:
        """Run one command and return how it ended. Raises EngineError, or Interrupted on a stop."""
        return self.subject.start(call, self.options)

    def labels(self) -> Mapping[str, str]:
        """The image's labels."""
        return self.subject.labels()


def _namespaces() -> list[str]:
    # unshare does not mind SIGTERM; killed, it takes all that runs in its namespaces with it.
    end_with_us = ["setpriv", "--pdeathsig", "KILL", "--"]
    mine = [] if os.getuid() == 0 else ["--user", "--map-current-user", "--keep-caps"]
    return [
        *end_with_us,
        "unshare",
        *mine,
        "--mount",
        "--net",
        "--uts",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
    ]


def _tmpfs_bytes(call: Call) -> int:
    """What the folders of the sandbox hold when full: output, working folder, home, /tmp, /dev/shm."""
    return call.write_limit * (1 if call.in_folder else 2) + 3 * ROOM_BYTES


def _outcome(
    call: Call, status: int, lines: Sequence[str], seconds: float, exceeded: Callable[[int, str], bool]
) -> Outcome:
    too_much = f"needed more memory than its limit of {call.memory_limit >> 20} MiB"
    if status or len(lines) < 2:
        said = "\n".join(lines)
        if exceeded(status, said):  # the sandbox itself went with it
            return Outcome(status, said, seconds, too_much)
        raise EngineError(
            "tests of SIF files can't run on this machine: " + " | ".join(lines[-5:]),
            hint="they need user namespaces and /dev/fuse: see docs/how-to/set-up-other-systems.md",
        )
    output = "\n".join(lines[2:])
    ended, *free = lines[0].split()
    bounds = (
        ("to its working folder ", call.write_limit, call.in_folder is None),
        ("to /tmp ", ROOM_BYTES, True),
        ("to its home folder ", ROOM_BYTES, True),
        ("", call.write_limit, True),  # what it printed
    )
    stopped = [
        f"wrote more {where}than its limit of {limit >> 20} MiB"
        for (where, limit, bounded), blocks in zip(bounds, free, strict=True)
        if bounded and blocks == "0"
    ]
    if exceeded(int(ended), output):  # first: a machine short of memory is slow, too
        stopped = [too_much]
    elif int(ended) and seconds >= call.time_limit:
        stopped = [f"ran longer than its limit of {call.time_limit:g} seconds"]
    counted = zip(call.expect, lines[1].split(), strict=True)
    sizes = {file: int(size) for file, size in counted if size.isdecimal()}
    return Outcome(int(ended), output, seconds, "; ".join(stopped), sizes)
