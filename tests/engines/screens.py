"""Clients of desktops, as people have them: FreeRDP on a virtual screen, and Chromium without one."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import shutil
import struct
import subprocess
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.engines.kit_tools import missing

WIDTH, HEIGHT = 1280, 800


def tool(*names: str) -> str:
    """The path of the first of those programs that is there; where none is, the test is left out."""
    found = next((path for name in names if (path := shutil.which(name))), "")
    if not found:
        missing(f"{names[0]} is not installed: run ci/setup tests")
    return found


@dataclass(frozen=True)
class Picture:
    """What a screen shows: a number for the colour of each dot, line by line."""

    width: int
    height: int
    dots: tuple[int, ...]

    @property
    def colours(self) -> int:
        """How many different ones there are."""
        return len(set(self.dots))

    def changed(self, other: Picture) -> float:
        """The part of its dots that the other one has in another colour."""
        pairs = zip(self.dots, other.dots, strict=True)
        return sum(ours != theirs for ours, theirs in pairs) / len(self.dots)

    def write(self, file: Path) -> None:
        """As a PNG file."""
        line = self.width * 3
        data = b"".join(struct.pack(">I", dot)[1:] for dot in self.dots)
        rows = b"".join(b"\0" + data[at : at + line] for at in range(0, len(data), line))
        head = struct.pack(">2I5B", self.width, self.height, 8, 2, 0, 0, 0)
        parts = ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
        pieces = (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
            for name, data in parts
        )
        file.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(pieces))


@dataclass(frozen=True)
class Screen:
    """A virtual one, of the X server that keeps what it shows in a ``folder``."""

    display: str
    folder: Path

    def picture(self) -> Picture:
        """What it shows now, out of the server's file (XWDFile.h, version 7)."""
        data = (self.folder / "Xvfb_screen0").read_bytes()
        head = struct.unpack(">25I", data[:100])
        size, width, height, line, colours = head[0], head[4], head[5], head[12], head[19]
        begin = size + 12 * colours
        rows = (struct.unpack_from(f"<{width}I", data, begin + row * line) for row in range(height))
        return Picture(width, height, tuple(dot & 0xFFFFFF for dot in itertools.chain.from_iterable(rows)))


@contextlib.contextmanager
def screen(folder: Path) -> Iterator[Screen]:
    """A virtual screen as long as the block lasts."""
    reading, writing = os.pipe()
    size = f"{WIDTH}x{HEIGHT}x24"
    words = [tool("Xvfb"), "-displayfd", str(writing), "-screen", "0", size, "-fbdir", str(folder)]
    server = subprocess.Popen([*words, "-nolisten", "tcp"], pass_fds=[writing], stderr=subprocess.DEVNULL)
    os.close(writing)
    try:
        with os.fdopen(reading) as said:
            yield Screen(f":{said.readline().strip()}", folder)
    finally:
        end(server)


@contextlib.contextmanager
def remote_desktop(
    on: Screen, port: int, fingerprint: str, user: str, password: str, log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """A client of remote desktop that trusts that certificate alone, as long as the block lasts."""
    words = [
        *(tool("xfreerdp", "xfreerdp3"), f"/v:127.0.0.1:{port}", f"/u:{user}", f"/p:{password}"),
        *(f"/cert:fingerprint:sha256:{fingerprint}", "/sec:tls", f"/size:{WIDTH}x{HEIGHT}", "/bpp:32"),
        *("-grab-keyboard", "/timeout:120000", "/log-level:INFO"),
    ]
    home = log.parent / "home"
    home.mkdir(exist_ok=True)
    with log.open("wb") as out:
        client = subprocess.Popen(
            words,
            env={**os.environ, "DISPLAY": on.display, "HOME": str(home)},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        yield client
    finally:
        end(client)


class Browser:
    """A Chromium that is told what to do over a pipe (https://chromedevtools.github.io/devtools-protocol/)."""

    def __init__(self, process: subprocess.Popen[bytes], to: int, back: int) -> None:
        self.process = process
        self._to, self._back = to, back
        self._numbers = itertools.count(1)
        self._held = b""
        page = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._page = self.ask("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]

    def ask(self, method: str, session: str = "", **params: Any) -> dict[str, Any]:
        """One thing, and its answer."""
        number = next(self._numbers)
        order = {"id": number, "method": method, "params": params} | (
            {"sessionId": session} if session else {}
        )
        os.write(self._to, json.dumps(order).encode() + b"\0")
        while True:
            while b"\0" not in self._held:
                piece = os.read(self._back, 1 << 20)
                assert piece, "the browser ended"
                self._held += piece
            message, _, self._held = self._held.partition(b"\0")
            answer = json.loads(message)
            if answer.get("id") == number:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result

    def go(self, url: str) -> None:
        self.ask("Page.navigate", self._page, url=url)

    def value(self, script: str) -> Any:
        """What a script comes to in the page."""
        answer = self.ask("Runtime.evaluate", self._page, expression=script, returnByValue=True)
        return answer["result"].get("value")

    def wait_for(self, script: str, seconds: float) -> None:
        """Until it comes to something that is true."""
        until = time.monotonic() + seconds
        while not self.value(script):
            assert time.monotonic() < until, f"not so within {seconds:g} s: {script}"
            time.sleep(1)

    def screenshot(self, png: Path) -> None:
        answer = self.ask("Page.captureScreenshot", self._page, format="png")
        png.write_bytes(base64.b64decode(answer["data"]))


@contextlib.contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """A browser without a window, as long as the block lasts."""
    program = tool("chromium", "chromium-headless-shell", "google-chrome")
    theirs, ours = os.pipe()
    answers, back = os.pipe()
    # It reads its orders from 3, and answers to 4.
    shell = f'exec 3<&{theirs} 4>&{back}; exec "$@"'
    words = [program, "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe"]
    words += [f"--user-data-dir={folder}", f"--window-size={WIDTH},{HEIGHT}", "--no-first-run"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            ["bash", "-c", shell, "bash", *words],
            pass_fds=[theirs, back],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    os.close(theirs)
    os.close(back)
    try:
        yield Browser(process, ours, answers)
    finally:
        end(process)
        os.close(ours)
        os.close(answers)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a program of ours."""
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
