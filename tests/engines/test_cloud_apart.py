"""What the cloud on one machine has for itself, and that nothing of it stays; the cloud: make test-cloud."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.engines.bench import NAP, running, wait_for
from tests.engines.kit_tools import missing

OUTER = """
import signal, sys
from tests.cloud.apart import python, run_apart
signal.signal(signal.SIGTERM, signal.default_int_handler)
sys.exit(run_apart([sys.executable, *sys.argv[1:]]))
"""
INNER = """
import socket, subprocess, sys, time
from pathlib import Path
from tests.cloud.apart import settle
settle()
folder = Path(sys.argv[1])
subprocess.run(["ip", "link", "add", "zz-bridge", "type", "bridge"], check=True)
subprocess.run(["mount", "-t", "tmpfs", "none", folder / "mounted"], check=True)
listening = socket.create_server(("127.0.0.1", 9696))
subprocess.run(["sh", "-c", "setsid " + sys.argv[2] + " >/dev/null 2>&1 &"], check=True)
(folder / "up").touch()
try:
    while not (folder / "end").exists():
        time.sleep(0.1)
finally:
    (folder / "ended").touch()
sys.exit(7)
"""


@pytest.fixture
def apart(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    if os.geteuid():
        missing("a network and mounts of its own take root")
    (tmp_path / "mounted").mkdir()
    words = [sys.executable, "-c", OUTER, "-c", INNER, str(tmp_path), f"{NAP}9"]
    process = subprocess.Popen(words, cwd=REPOSITORY)
    try:
        wait_for((tmp_path / "up").exists, 60)
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("number", [None, signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_of_it_stays_however_it_ends(
    apart: subprocess.Popen[bytes], number: signal.Signals | None, tmp_path: Path
) -> None:
    assert running(f"{NAP}9")
    assert not (Path("/sys/class/net") / "zz-bridge").exists()
    assert not os.path.ismount(tmp_path / "mounted")
    assert ":25E0 " not in Path("/proc/net/tcp").read_text()  # port 9696
    if number:
        apart.send_signal(number)
    else:
        (tmp_path / "end").touch()
    status = apart.wait(60)
    assert status == 7 if number is None else status != 0
    wait_for((tmp_path / "ended").exists, 20)
    wait_for(lambda: not running(f"{NAP}9"), 20)
    time.sleep(0.1)
    assert not (Path("/sys/class/net") / "zz-bridge").exists()
