"""A console and QEMU's protocol, over the sockets that QEMU has the other end of."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path

import pytest

from imagefactory.errors import DiskFull, EngineError
from imagefactory.guest.console import KEPT_BYTES, Console
from imagefactory.guest.machine import Machine
from imagefactory.guest.qmp import Qmp
from imagefactory.system.processes import Stop


def heard(log: Path, *pieces: bytes) -> tuple[Console, list[str]]:
    ours, theirs = socket.socketpair()
    lines: list[str] = []
    console = Console(ours, log, lines.append)
    with theirs:
        for piece in pieces:
            theirs.sendall(piece)
    console.join()
    return console, lines


def test_a_console_is_harmless(tmp_path: Path) -> None:
    said = b"\x1b[2J\x1b]0;title\x07[\x1b[0;32m  OK  \x1b[0m] f\xc3", b"\xbcr\r\nlogin: \x08\x9b1m\xff"
    console, lines = heard(tmp_path / "log", *said)
    assert lines[0] == "[  OK  ] für"
    assert lines[1].startswith("login:")
    assert all(line.isprintable() for line in lines)
    assert console.text().replace("\n", "").isprintable()


def test_a_console_is_bounded(tmp_path: Path) -> None:
    console, lines = heard(tmp_path / "log", b"first\n", b"x" * 4 * KEPT_BYTES, b"\nlast\n")
    assert len(console.text()) < 2 * KEPT_BYTES + 100
    assert console.text().startswith("first\n")
    assert console.text().endswith("\nlast\n")
    assert "more than is kept" in console.text()
    assert (tmp_path / "log").stat().st_size == KEPT_BYTES
    assert max(map(len, lines)) <= 1 << 16


def test_what_a_listener_raises_reaches_whoever_waits(tmp_path: Path) -> None:
    def full(line: str) -> None:
        raise DiskFull("no space")

    ours, theirs = socket.socketpair()
    console = Console(ours, tmp_path / "log", full)
    with theirs:
        theirs.sendall(b"one\ntwo\n")
    console.join()
    assert console.text() == "one\ntwo\n"
    with pytest.raises(DiskFull):
        console.check()


def test_questions_get_their_own_answers() -> None:
    ours, theirs = socket.socketpair()
    events: list[str] = []
    talk = Qmp(ours, lambda event, data: events.append(event))

    def answer() -> None:
        with theirs, theirs.makefile("rw") as lines:
            lines.write('{"QMP": {}}\n')
            lines.flush()
            for line in lines:
                asked = json.loads(line)
                lines.write('{"event": "RESET"}\n{"return": "late", "id": -1}\n')
                if asked["execute"] == "bad":
                    lines.write(json.dumps({"error": {"desc": "no such thing"}, "id": asked["id"]}) + "\n")
                elif asked["execute"] == "end":
                    return
                else:
                    lines.write(json.dumps({"return": asked["arguments"], "id": asked["id"]}) + "\n")
                lines.flush()

    thread = threading.Thread(target=answer)
    thread.start()
    assert talk.greet(5)
    assert talk.ask("echo", path='x"\n') == {"path": 'x"\n'}
    with pytest.raises(EngineError, match="QEMU refuses bad: no such thing"):
        talk.ask("bad")
    with pytest.raises(EngineError, match="no answer"):
        talk.ask("end")
    with pytest.raises(EngineError, match="no answer"):
        talk.ask("echo")
    thread.join()
    talk.join()
    assert "RESET" in events


def test_a_full_disk_is_told() -> None:
    machine = Machine(Stop())
    machine.hear("BLOCK_IO_ERROR", {"action": "report", "nospace": False, "reason": "I/O error"})
    assert not isinstance(machine.failure(), DiskFull)
    machine.hear("BLOCK_IO_ERROR", {"action": "stop", "nospace": True})
    assert isinstance(machine.failure(), DiskFull)
    assert "no space is left" in machine.failure().message
