"""A temporary checkout in which the real command works on the real engines."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imagefactory.system.workspace import Workspace

REPOSITORY = Path(__file__).resolve().parents[2]
COMMAND = str(Path(sys.executable).with_name("imagefactory"))
RUN = os.environ["ZZ_TEST_RUN"]
HELLO = f"{RUN}-hello"  # which all workers share
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")
PREFIX = f"{RUN}-{WORKER}" if WORKER else RUN  # of every image that this process makes
NAP = f"sleep 7654.{os.getpid()}"  # and a digit: nothing else on this machine sleeps so
SCRUBBED = (
    "CI",
    "GITHUB_ACTIONS",
    "GITLAB_CI",
    "SOURCE_DATE_EPOCH",
    "IMAGEFACTORY_ROOT",
    "PYTHONDONTWRITEBYTECODE",  # or each of hundreds of commands would compile all modules
)
FINE = [{"name": "runs", "command": ["sh", "-c", "echo it runs"], "output": ["^it runs$"]}]


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def text(self) -> str:
        return self.out + self.err

    @property
    def errors(self) -> list[str]:
        """The lines that say what went wrong."""
        return [line for line in self.err.splitlines() if line.startswith("error: ")]

    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class Bench:
    """One checkout. ``environment`` adds to that of every command; None takes a name away."""

    root: Path
    environment: dict[str, str | None] = field(default_factory=dict)
    as_user: tuple[str, ...] = ()  # words before the command
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def build(self) -> Path:
        return self.root / "build"

    @property
    def key(self) -> str:
        return Workspace(self.root.resolve()).key

    def run(self, *words: str, status: int | None = 0, timeout: float = 300, **environment: str) -> Ended:
        """Run the command to its end; ``status`` is what it must end with, None for any."""
        process = self.start(*words, **environment)
        try:
            out, err = process.communicate(timeout=timeout)
        except BaseException:
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=60)
            process.kill()
            raise
        ended = Ended(process.returncode, out, err)
        print(f"$ imagefactory {shlex.join(words)}\n{ended.text}")  # noqa: T201 - shown where a test fails
        assert "Traceback" not in ended.text, ended.text
        assert status in (None, ended.status), f"ended with {ended.status}:\n{ended.text}"
        return ended

    def start(self, *words: str, **environment: str) -> subprocess.Popen[str]:
        """Start the command, and leave it running. A build makes no SIF file unless the test asks for one."""
        if words[0] == "build" and "--format" not in words:
            words = (*words, "--format", "oci")
        process = subprocess.Popen(
            [*self.as_user, COMMAND, *words],
            cwd=self.root,
            env=self.variables(**environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
        )
        self.started.append(process)
        return process

    def end(self) -> None:
        """End what a failed test left running, so that it does not disturb the next one."""
        for process in self.started:
            if process.poll() is None:
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.communicate(timeout=30)
                process.kill()

    def variables(self, **environment: str) -> dict[str, str]:
        """The environment of a command."""
        plain = {k: v for k, v in os.environ.items() if k not in SCRUBBED} | {"COLUMNS": "200"}
        return {k: v for k, v in {**plain, **self.environment, **environment}.items() if v is not None}

    def recipe(self, name: str, install: str = "true", *, tests: Any = None, **more: Any) -> str:
        """Write a small recipe, and return the identifier of its image."""
        image = f"{PREFIX}-{name}"
        folder = self.root / "recipes" / image
        (folder / "tests").mkdir(parents=True, exist_ok=True)
        document = {
            "name": image,
            "title": "A test",
            "summary": "An image that a test makes",
            "version": "1.0",
            "homepage": "https://example.org/test",
            "licence": "MIT",
            "maintainers": [{"name": "Nobody"}],
            "base": "debian-12",
            "tests": FINE if tests is None else tests,
            **more,
        }
        text = json.dumps(document, indent=2, ensure_ascii=False)  # which is YAML too
        (folder / "recipe.yaml").write_text(text, encoding="utf-8")
        (folder / "install.sh").write_text(f"#!/bin/sh\nset -eu\n{install}\n", encoding="utf-8")
        return image

    def folder(self, id: str) -> Path:
        return self.root / "recipes" / id

    def report(self, id: str, kind: str = "oci") -> dict[str, Any]:
        report: dict[str, Any] = json.loads(self.report_file(id, kind).read_text())
        return report

    def report_file(self, id: str, kind: str = "oci") -> Path:
        return self.build / id / kind / "report.json"

    def failed_tests(self, id: str) -> dict[str, str]:
        """The tests that failed, with the reason."""
        return {t["name"]: t["reason"] for t in self.report(id)["tests"] if t["status"] == "failed"}

    def steps(self, id: str) -> dict[str, bool]:
        """The steps of the last build, and whether each came from the cache."""
        return {step["name"]: step["cached"] for step in self.report(id)["steps"]}

    def log(self, id: str, kind: str = "oci") -> str:
        return (self.build / id / kind / "build.log").read_text()

    def leftovers(self) -> list[str]:
        """All that a run must not leave behind."""
        containers = docker("ps", "-aq", "--filter", f"label=io.imagefactory.workspace={self.key}")
        candidates = [name for name in images("imagefactory/candidate") if f":{self.key}." in name]
        files = [*self.build.glob("*/scratch"), *self.build.glob("*/*/scratch")]
        files += [f for f in self.build.rglob(".*") if f.name not in (".gitignore", ".imagefactory")]
        mounts = [m for m in Path("/proc/mounts").read_text().splitlines() if f" {self.root}/" in m]
        return [*containers.split(), *candidates, *map(str, files), *mounts, *self.processes()]

    def processes(self) -> list[str]:
        """Processes that work in this checkout, or on something in it."""
        return [f"{pid} {line}" for pid, line in processes() if self._concerns(pid, line)]

    def _concerns(self, pid: int, line: str) -> bool:
        where = ""
        with contextlib.suppress(OSError):
            where = str(Path(f"/proc/{pid}/cwd").readlink())
        return str(self.root) in line or f"{where}/".startswith(f"{self.root}/")

    def assert_clean(self, patience: float = 0.0) -> None:
        """Nothing is left behind, or nothing any more after some seconds."""
        wait_for(lambda: not self.leftovers(), patience, lambda: f"left behind: {self.leftovers()}")

    def ids(self) -> list[str]:
        return [image for image in images() if image.startswith(f"imagefactory/{PREFIX}")]


def docker(*words: str, status: int | None = 0, environment: dict[str, str] | None = None) -> str:
    """Run the docker command, and return what it wrote."""
    done = subprocess.run(
        ["docker", *words],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, **(environment or {})},
    )
    assert status in (None, done.returncode), f"docker {words}: {done.stderr}"
    return done.stdout


def images(name: str = "") -> list[str]:
    """The names of the engine's images."""
    words = ["image", "ls", "--format", "{{.Repository}}:{{.Tag}}", *([name] if name else [])]
    for _ in range(5):  # the engine stumbles over an image that somebody removes at this moment
        listed = docker(*words, status=None).split()
        if listed:
            return listed
    return docker(*words).split()


def inspect(reference: str) -> dict[str, Any]:
    """What the engine knows of an image."""
    facts: dict[str, Any] = json.loads(docker("image", "inspect", reference))[0]
    return facts


def exists(reference: str) -> bool:
    """Whether the engine has an image of that name."""
    return bool(docker("image", "ls", "-q", reference).strip())


def processes() -> Iterator[tuple[int, str]]:
    """Every process of this machine, with its words."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            if line:
                yield int(folder.name), line


def running(words: str) -> bool:
    """Whether some process was started with exactly these words."""
    return any(line == words for _, line in processes())


def wait_for(
    condition: Callable[[], bool],
    seconds: float = 60.0,
    otherwise: Callable[[], str] = lambda: "it never came",
) -> None:
    """Wait until ``condition`` holds; fail after ``seconds``."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, otherwise()
        time.sleep(0.1)


def remove_images(prefix: str) -> None:
    """Remove every image and container of tests whose name begins so: a factory that fails may leave some."""
    for container in docker("ps", "-aq", "--filter", "label=io.imagefactory.workspace").split():
        if prefix in docker("inspect", "--format", "{{json .Config.Labels}}", container, status=None):
            docker("rm", "--force", container, status=None)
    for name in images():
        if prefix in name:
            docker("image", "rm", "--force", name, status=None)


def copy_base(origin: Bench, target: Bench) -> None:
    """Give a checkout the base image that another has locked and made."""
    shutil.copy(origin.root / "base_images" / "debian-12.lock.yaml", target.root / "base_images")
    theirs, ours = origin.build / "debian-12", target.build / "debian-12"
    shutil.copytree(theirs / "layout", ours / "layout")
    (ours / "base").mkdir()
    shutil.copy(theirs / "base" / "report.json", ours / "base")
