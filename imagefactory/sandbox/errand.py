"""One errand in a sandbox: a script, what it may see, how much it may take, and the one way out to
upstreams.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import IO, Any

from imagefactory.errors import BuildFailed, EngineError, Interrupted, disk_error
from imagefactory.sandbox.relay import PORT, Relay
from imagefactory.sandbox.view import INPUTS, OUTSIDER, WORK, host_python, sandbox_version, view
from imagefactory.system.files import remove_tree
from imagefactory.system.memory import bounded
from imagefactory.system.processes import Stop, feed, stream

GIB = 1 << 30
_PROCESSES = 4096
_LETTERS = 2000  # of a line that is kept
_SAID = 50  # of its last lines, which tell of a want of memory where the kernel does not
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Limits:
    """What an errand may take: ``seconds`` of time, and bytes of memory, of all files (``disk``), which are
    in memory and take at most half of the machine's, and of each file, its answer among them.
    """

    seconds: float = 1800
    memory: int = 8 * GIB
    disk: int = 4 * GIB
    file: int = 4 * GIB


@dataclass(frozen=True)
class Errand:
    """``script`` is for a POSIX shell, which ends where a command fails. It runs in an empty folder,
    ``/job``; ``inputs`` stand in ``/in``, read-only: bytes of files, or files and folders of this machine
    by their path. What it writes to file descriptor 3 is its answer.

    ``what`` is what messages call it. With ``ids`` it is root of a user namespace that has so many.
    """

    what: str
    script: str
    inputs: Mapping[str, bytes | Path] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    limits: Limits = Limits()
    relay: Relay | None = None
    ids: int = 0


def run_errand(
    errand: Errand,
    on_line: Callable[[str], None],
    stop: Stop,
    scratch: Path,
    answer: IO[bytes] | None = None,
    write: Callable[[IO[bytes]], None] | None = None,
) -> int:
    """Run an errand to its end, hand each line that it says to ``on_line``, and return its status.

    ``answer`` is a file, open for writing, that takes what the errand writes to its file descriptor 3; it
    may be of any content. ``write`` writes what the errand reads from its standard input. Raises EngineError
    where there can be no sandbox, BuildFailed where the errand took too long or too much memory, and
    Interrupted on a stop.
    """
    sandbox_version()
    said: deque[str] = deque(maxlen=_SAID)

    def hear(line: str) -> None:
        said.append(line[:_LETTERS])
        on_line(line)

    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(_inputs(errand, scratch))
        bound = stack.enter_context(bounded(errand.limits.memory, _disk(errand)))
        control = None
        if errand.relay:
            ours, control = socket.socketpair()
            stack.enter_context(ours)
            stack.enter_context(control)
            stack.enter_context(errand.relay.serving(ours))
        begun = stack.enter_context(tempfile.TemporaryFile())
        spec = {**_spec(errand, control, answer), "begun": begun.fileno()}
        passed = [end for end in map(spec.get, ("control", "answer", "begun")) if isinstance(end, int)]
        argv = [*bound.prefix, *_words(errand, folder), str(host_python()), "-I", "-S", f"{INPUTS}/inside.py"]
        argv += [json.dumps(spec), "sh", "-eu", f"{INPUTS}/script"]
        if answer:
            stack.callback(os.fchown, answer.fileno(), os.geteuid(), os.getegid())  # it was the errand's
        # What is first in a process namespace minds nothing less.
        how: Any = {"cwd": Path("/"), "pass_fds": passed, "end_with": signal.SIGKILL}
        own, late = stack.enter_context(_timed(errand, stop))
        try:
            if write:
                status = feed(argv, write, hear, stop=own, **how)
            else:
                status = stream(argv, hear, stop=own, **how)
        except Interrupted:
            stop.check()
            waited = f" while it waited for {late[0]}" if late[0] else ""
            raise BuildFailed(
                f"{errand.what}: took longer than {errand.limits.seconds / 60:g} minutes, and was ended"
                f"{waited}",
                hint="an upstream may be slow, or what it gives may never end: look at the log",
            ) from None
        if not begun.seek(0, os.SEEK_END):
            raise EngineError(
                f"{errand.what}: no sandbox can be made on this machine: {' | '.join(list(said)[-3:])}",
                hint="it needs user namespaces, and for base images a line in /etc/subuid; a container needs "
                "more rights: see docs/how-to/set-up-other-systems.md",
            )
        if bound.exceeded(status, "\n".join(said)):
            raise BuildFailed(
                f"{errand.what}: needed more memory than its limit of {errand.limits.memory >> 20} MiB",
                hint="what comes from outside may ask for that on purpose: look at the log",
            )
        return status


def _spec(errand: Errand, control: socket.socket | None, answer: IO[bytes] | None) -> dict[str, object]:
    """What inside.py is told."""
    of_root = os.geteuid() == 0
    return {
        "control": control.fileno() if control else None,
        "port": PORT,
        "answer": answer.fileno() if answer else None,
        "files": errand.limits.file,
        "processes": _PROCESSES,
        "user": (OUTSIDER, OUTSIDER) if of_root and not errand.ids else None,
        "map": OUTSIDER if of_root and errand.ids else None,
        "count": errand.ids,
        "root": errand.ids > 0,
    }


def _words(errand: Errand, folder: Path) -> list[str]:
    environment = {
        "PATH": _PATH,
        "HOME": f"{WORK}/home",
        "TMPDIR": f"{WORK}/tmp",  # noqa: S108
        "LANG": "C.UTF-8",
        "NO_COLOR": "1",
        **errand.environment,
    }
    paths = {name: given for name, given in errand.inputs.items() if isinstance(given, Path)}
    return view(folder, paths, environment, _disk(errand), errand.ids)


def _disk(errand: Errand) -> int:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(errand.limits.disk, memory // 2)


@contextlib.contextmanager
def _inputs(errand: Errand, scratch: Path) -> Iterator[Path]:
    """A folder with the script, the inputs that are bytes, and places for those that are not."""
    folder = Path(tempfile.mkdtemp(prefix="sandbox-", dir=scratch))
    try:
        folder.chmod(0o755)  # whoever runs it is somebody else
        ours = {
            "script": errand.script.encode(),
            "inside.py": (files(__package__) / "inside.py").read_bytes(),
        }
        for name, data in {**errand.inputs, **ours}.items():
            place = folder / name
            place.parent.mkdir(exist_ok=True)
            if isinstance(data, bytes):
                place.write_bytes(data)
                place.chmod(0o644)
            elif data.is_dir():
                place.mkdir()
            else:
                place.touch()
        yield folder
    except OSError as error:
        raise disk_error(error, folder) from None
    finally:
        remove_tree(folder)


@contextlib.contextmanager
def _timed(errand: Errand, stop: Stop) -> Iterator[tuple[Stop, list[str]]]:
    """A stop of the errand's own, for when its time is up; and what it waited for, where that was so."""
    own, late = Stop(), list[str]()

    def end() -> None:
        late.append(errand.relay.waits_for() if errand.relay else "")
        own.now()

    timer = threading.Timer(errand.limits.seconds, end)
    timer.daemon = True
    timer.start()
    try:
        with stop.ends(own.now):
            yield own, late
    finally:
        timer.cancel()
