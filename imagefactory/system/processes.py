"""The one place that starts processes: each with what it needs of the caller's environment (see
``environment``), and what the call names.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from imagefactory.errors import EngineError, Interrupted
from imagefactory.system.environment import child_environment

GRACE_SECONDS = 10.0
PIPE_BYTES = 1 << 20
MAX_LINE = 1 << 20


@dataclass(frozen=True, slots=True)
class Finished:
    """How a process ended, and what it wrote."""

    status: int
    stdout: str
    stderr: str


class Stop:
    """Ends everything that was started under it, from any thread: set once, never cleared."""

    def __init__(self) -> None:
        self._set = threading.Event()
        self._lock = threading.Lock()
        self._enders: list[Callable[[], None]] = []

    def __bool__(self) -> bool:
        return self._set.is_set()

    def now(self) -> None:
        """Ask all that runs to end; what starts later ends at once."""
        self._set.set()
        with self._lock:
            enders = list(self._enders)
        for end in enders:
            end()

    def wait(self, seconds: float) -> None:
        """Let that much time pass, or less on a stop."""
        self._set.wait(seconds)

    def check(self) -> None:
        """Raise Interrupted if a stop was asked for."""
        if self:
            raise Interrupted("interrupted")

    @contextlib.contextmanager
    def ends(self, end: Callable[[], None]) -> Iterator[None]:
        """Have ``end`` called, from the stopping thread, on a stop while the block runs."""
        with self._lock:
            self._enders.append(end)
        try:
            if self:
                end()
            yield
        finally:
            with self._lock:
                self._enders.remove(end)


def which(program: str) -> str | None:
    """The full path of ``program``, or None where it is not installed."""
    return shutil.which(program)


def run(
    argv: Sequence[str],
    *,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    timeout: float = 60,
) -> Finished:
    """Run a short command to its end and return what it wrote.

    Raises EngineError when the program is missing or takes longer than ``timeout`` seconds.
    """
    try:
        done = subprocess.run(
            list(argv),
            cwd=cwd,
            env=child_environment(environment),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except FileNotFoundError:
        raise _missing(argv[0]) from None
    except subprocess.TimeoutExpired:
        raise EngineError(f"{argv[0]} did not answer within {timeout:g} seconds") from None
    return Finished(done.returncode, done.stdout, done.stderr)


def stream(
    argv: Sequence[str],
    on_line: Callable[[str], None],
    *,
    stop: Stop,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    newline: str | None = None,
    pass_fds: Sequence[int] = (),
    end_with: signal.Signals = signal.SIGTERM,
    stdin: IO[bytes] | None = None,
    output: IO[bytes] | None = None,
) -> int:
    """Run a long command, hand each line that it writes to ``on_line``, and return its status.

    It reads the file ``stdin``, or nothing. Where there is a file ``output``, its standard output goes
    there, and ``on_line`` hears its standard error alone. ``newline`` ends a line; without one, a carriage
    return ends it as well. A line that is longer than MAX_LINE characters comes in parts. It inherits the
    file descriptors ``pass_fds``, and is ended with the signal ``end_with``. The process and its children
    end with this one, however this one ends. Raises EngineError when the program is missing and Interrupted
    when ``stop`` was asked for.
    """
    if which(argv[0]) is None:
        raise _missing(argv[0])
    process = subprocess.Popen(
        [*_die_with_parent(), *argv],
        cwd=cwd,
        umask=0o022,  # whatever the caller's is, it must not show in an image
        stdin=stdin or subprocess.DEVNULL,
        stdout=output or subprocess.PIPE,
        stderr=subprocess.PIPE if output else subprocess.STDOUT,
        env=child_environment(environment),
        start_new_session=True,
        pass_fds=pass_fds,
    )
    pipe = process.stderr if output else process.stdout
    assert pipe is not None
    said = io.TextIOWrapper(pipe, "utf-8", "replace", newline)
    try:
        with stop.ends(lambda: _signal_group(process, end_with)), said:
            while line := said.readline(MAX_LINE):
                on_line(line.rstrip("\n"))
            status = process.wait()
    finally:
        _end(process, end_with)
    stop.check()
    return status


def feed(
    argv: Sequence[str],
    write: Callable[[IO[bytes]], None],
    on_line: Callable[[str], None],
    *,
    stop: Stop,
    cwd: Path | None = None,
    pass_fds: Sequence[int] = (),
    end_with: signal.Signals = signal.SIGTERM,
) -> int:
    """Run a command that reads what ``write`` writes, hand each line that it says to ``on_line``, and return
    its status. Where it ends before it has read all, its status tells why; ``write`` just ends. It inherits
    the file descriptors ``pass_fds``, and is ended with the signal ``end_with``.

    Raises EngineError when the program is missing and Interrupted when ``stop`` was asked for.
    """
    if which(argv[0]) is None:
        raise _missing(argv[0])
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [*_die_with_parent(), *argv],
            cwd=cwd,
            umask=0o022,
            stdin=subprocess.PIPE,
            stdout=said,
            stderr=subprocess.STDOUT,
            bufsize=PIPE_BYTES,
            env=child_environment(),
            pass_fds=pass_fds,
            start_new_session=True,
        )
        assert process.stdin is not None
        try:
            with stop.ends(lambda: _signal_group(process, end_with)):
                with contextlib.suppress(BrokenPipeError):
                    write(process.stdin)
                with contextlib.suppress(BrokenPipeError):
                    process.stdin.close()
                status = process.wait()
        finally:
            _end(process, end_with)
        said.seek(max(0, said.tell() - MAX_LINE) if said.seek(0, os.SEEK_END) > MAX_LINE else 0)
        for line in said.read().decode("utf-8", "replace").splitlines():
            on_line(line)
    stop.check()
    return status


def attach(
    argv: Sequence[str], *, cwd: Path | None = None, environment: Mapping[str, str] | None = None
) -> int:
    """Run a command on the caller's terminal, for a person to talk to, and return its status."""
    if which(argv[0]) is None:
        raise _missing(argv[0])
    return subprocess.run(list(argv), cwd=cwd, env=child_environment(environment), check=False).returncode


def _missing(program: str) -> EngineError:
    return EngineError(f"{program} is not installed", hint="run ci/setup")


def _die_with_parent() -> list[str]:
    """Have the kernel end the child when this process is killed outright (util-linux's setpriv)."""
    setpriv = which("setpriv")
    return [setpriv, "--pdeathsig", "TERM", "--"] if setpriv else []


def _signal_group(process: subprocess.Popen[Any], number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _end(process: subprocess.Popen[Any], end_with: signal.Signals) -> None:
    if process.poll() is not None:
        return
    _signal_group(process, end_with)
    try:
        process.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        _signal_group(process, signal.SIGKILL)
        process.wait()
