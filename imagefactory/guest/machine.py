"""A machine that runs: QEMU's process, how it ends, and what it is asked meanwhile."""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from imagefactory.errors import BuildFailed, DiskFull, EngineError, FactoryError, Interrupted
from imagefactory.guest.confine import confining_words
from imagefactory.guest.console import Console
from imagefactory.guest.options import BootOptions
from imagefactory.guest.programs import QEMU, program
from imagefactory.guest.qmp import Qmp
from imagefactory.guest.words import Wiring, machine_words
from imagefactory.system.processes import Stop, stream

_FORWARD = re.compile(r"TCP\[HOST_FORWARD\]\s+\d+\s+127\.0\.0\.1\s+(\d+)")
_PAUSE = 0.1
_START_SECONDS = 60.0
_LAST_WORDS = 5.0  # seconds, to be read once it has closed its line


class Machine:
    """QEMU, in a thread that starts it and waits for it, for the kernel ends a process with the thread that
    started it. ``stop`` is the caller's.
    """

    def __init__(self, stop: Stop) -> None:
        self.control: Qmp | None = None
        self.console: Console | None = None
        self.stop, self._own = stop, Stop()
        self._said: deque[str] = deque(maxlen=20)
        self._status: int | None = None
        self._why: FactoryError | None = None
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def ended(self) -> bool:
        """Whether QEMU has ended."""
        return self._ended.is_set()

    def start(self, argv: list[str], passed: tuple[int, ...]) -> None:
        """Start QEMU; it inherits the descriptors ``passed``, which may be closed once it has greeted."""
        self._thread = threading.Thread(target=self._run, args=(argv, passed), name="qemu", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """End QEMU at once, and wait until it has."""
        self._own.now()
        if self._thread:
            self._thread.join()

    def check(self) -> None:
        """Raise Interrupted on a stop; what ended the machine, where it has ended; what its console's
        reader met.
        """
        self.stop.check()
        if self.console:
            self.console.check()
        if self.ended:
            raise self.failure()

    def wait(self, seconds: float) -> bool:
        """Let that much time pass, or less where the machine ends meanwhile or a stop is asked for; whether
        it ended.
        """
        until = time.monotonic() + seconds
        while not self._ended.wait(max(0.0, min(_PAUSE, until - time.monotonic()))):
            self.stop.check()
            if time.monotonic() >= until:
                return False
        return True

    def failure(self) -> FactoryError:
        """Why the machine ended."""
        if self._why:
            return self._why
        said = " | ".join(list(self._said)[-3:])
        if self._status:
            return BuildFailed(
                f"QEMU ended with status {self._status}: {said or 'it said nothing'}",
                hint="the machine's console may say more: look at the log",
                tail=tuple(self._said),
            )
        return BuildFailed(
            f"the virtual machine was switched off while it was needed{': ' if said else ''}{said}",
            hint="what runs in it may do that: look at its console in the log",
        )

    def not_started(self) -> FactoryError:
        """Why there was no machine at all."""
        said = " | ".join(list(self._said)[-3:])
        return self._why or EngineError(
            f"QEMU does not start: {said or f'it ended with status {self._status}'}",
            hint="the words are QEMU's own: see that it works here, and run ci/setup vm",
        )

    def hear(self, event: str, data: Mapping[str, Any]) -> None:
        """What QEMU tells. On a full disk it would let the machine wait for ever."""
        if event == "BLOCK_IO_ERROR" and data.get("action") == "stop":
            full = bool(data.get("nospace"))
            kind = DiskFull if full else BuildFailed
            what = "no space is left" if full else f"it can't be written: {data.get('reason')}"
            self._why = kind(
                f"the virtual machine's disk: {what} in the folder where it is kept",
                hint="free some space there, then run the same command again",
            )
            self._own.now()

    def ask(self, command: str, **arguments: Any) -> Any:
        """What QEMU returns to a command. Raises what ended the machine, where that is why there is no
        answer, else EngineError.
        """
        assert self.control is not None
        try:
            return self.control.ask(command, **arguments)
        except EngineError:
            self.wait(_LAST_WORDS)
            self.check()
            raise

    def port(self) -> int:
        """The port of 127.0.0.1 that leads to the machine's port 22."""
        told = self.ask("human-monitor-command", **{"command-line": "info usernet"})
        found = _FORWARD.search(str(told))
        if not found:
            raise EngineError(
                "QEMU does not tell which port leads to the machine", hint="its version may be too new"
            )
        return int(found[1])

    def _run(self, argv: list[str], passed: tuple[int, ...]) -> None:
        # What a machine has open is thrown away, so that nothing is lost where QEMU is killed.
        how: Any = {"cwd": Path("/"), "pass_fds": passed, "end_with": signal.SIGKILL}
        try:
            with self.stop.ends(self._own.now):
                self._status = stream(argv, self._said.append, stop=self._own, **how)
        except Interrupted:
            self._status = -signal.SIGKILL
        except FactoryError as error:
            self._why = error
        except Exception as error:
            self._why = EngineError(f"QEMU does not start: {error}", hint="run ci/setup vm")
        finally:
            self._ended.set()


@contextlib.contextmanager
def running(
    options: BootOptions,
    wire: Callable[[int, int, int], Wiring],
    log: Path,
    stop: Stop,
    on_line: Callable[[str], None],
) -> Iterator[tuple[Machine, socket.socket]]:
    """A machine that has begun to boot, and our end of its guest agent's line. ``wire`` makes a wiring with
    QEMU's ends of three socket pairs: control, console, agent. When the block ends, QEMU has ended.
    """
    machine = Machine(stop)
    with contextlib.ExitStack() as stack:
        pairs = [socket.socketpair() for _ in range(3)]
        for pair in pairs:
            for end in pair:
                stack.callback(end.close)
        (control, control_end), (console, console_end), (agent, agent_end) = pairs
        wiring = wire(control_end.fileno(), console_end.fileno(), agent_end.fileno())
        argv = [
            *confining_words(kvm=options.accelerator == "kvm", network=options.network != "none"),
            *machine_words(program(QEMU), options, wiring),
        ]
        # Each closes its end itself, once nobody has the other any more.
        machine.console = Console(console.dup(), log, on_line)
        machine.control = Qmp(control.dup(), machine.hear)
        console.close()
        control.close()
        stack.callback(machine.console.join)
        stack.callback(machine.control.join)
        stack.callback(console_end.close)
        stack.callback(control_end.close)
        stack.callback(machine.end)
        machine.start(argv, wiring.passed())
        greeted = _greeted(machine)
        for end in (control_end, console_end, agent_end):
            end.close()
        stop.check()
        if not greeted:
            machine.end()
            raise machine.not_started()
        _take_up(machine)
        yield machine, agent


def _greeted(machine: Machine) -> bool:
    assert machine.control is not None
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until and not machine.ended:
        if machine.control.greet(_PAUSE):
            return True
    return False


def _take_up(machine: Machine) -> None:
    """QEMU greets before it has made its machine, and answers only where it could."""
    assert machine.control is not None
    try:
        machine.control.ask("qmp_capabilities")
    except EngineError:
        machine.stop.check()
        if machine.wait(_LAST_WORDS):
            raise machine.not_started() from None
        raise
