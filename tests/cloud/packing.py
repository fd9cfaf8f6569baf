"""Packer's ``openstack`` source in the cloud: a whole build, and builds that are interrupted."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.cloud.services import Broken
from tests.cloud.tried import Tried

BUILD_SECONDS = 3600
_END_SECONDS = 180
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class Packer:
    """One run of the template; ``log`` takes what it says."""

    def __init__(self, tried: Tried, variables: Mapping[str, str], clouds: Path, scratch: Path) -> None:
        self.log = scratch / "packer.log"
        folder = scratch / "template"
        subprocess.run(["cp", "-r", str(tried.template), str(folder)], check=True)
        subprocess.run(["rm", "-rf", str(folder / "plugins")], check=True)  # for newer Packers
        words = [f"-var={name}={value}" for name, value in {"payload": tried.payload, **variables}.items()]
        self._words = ["packer", "build", "-color=false", "-only=openstack.vm", *words, str(folder)]
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("OS_")},
            "OS_CLIENT_CONFIG_FILE": str(clouds),
            "TMPDIR": str(scratch),
            "PACKER_CACHE_DIR": str(scratch / "cache"),
            "CHECKPOINT_DISABLE": "1",
        }

    def run(self) -> None:
        """Run it to its end. Raises Broken where it fails."""
        with self._started() as process:
            status = process.wait(BUILD_SECONDS)
        if status:
            raise Broken(f"Packer ends with {status}: {self.said()[-1500:]}")

    def interrupt_at(self, pattern: str, seconds: float = BUILD_SECONDS) -> int:
        """Interrupt it when it says that, and let it end; its status. Raises Broken where it never says that,
        or does not end.
        """
        with self._started() as process:
            until = time.monotonic() + seconds
            while not re.search(pattern, self.said()):
                if process.poll() is not None or time.monotonic() > until:
                    raise Broken(f"Packer never said {pattern!r}: {self.said()[-1500:]}")
                time.sleep(0.2)
            # It is two processes, of which the first leaves interrupts to the other, as at a terminal.
            os.killpg(process.pid, signal.SIGINT)
            try:
                return process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                raise Broken(f"an interrupted Packer does not end: {self.said()[-1500:]}") from None

    def said(self) -> str:
        """All that it wrote until now."""
        text = self.log.read_text("utf-8", "replace") if self.log.exists() else ""
        return _COLOURS.sub("", text)

    @contextmanager
    def _started(self) -> Iterator[subprocess.Popen[bytes]]:
        with self.log.open("wb") as log:
            process = subprocess.Popen(
                self._words,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        watch = threading.Timer(BUILD_SECONDS, _kill, [process])
        watch.daemon = True
        watch.start()
        try:
            yield process
        finally:
            watch.cancel()
            _kill(process)
            process.wait()


def _kill(process: subprocess.Popen[bytes]) -> None:
    """With all that it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
