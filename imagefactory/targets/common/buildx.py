"""BuildKit through ``docker buildx build``: an OCI archive out of a rendered context."""

from __future__ import annotations

import base64
import json
import os
import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from imagefactory.errors import BuildFailed, DiskFull, EngineError
from imagefactory.model.spec import Step
from imagefactory.system.faults import network_words
from imagefactory.system.log import TAIL_LINES, Log
from imagefactory.system.processes import Stop, attach, stream

_NETWORK = network_words(
    r"no such host",
    r"i/o timeout",
    r"TLS handshake timeout",
    r"failed to do request",
)
_ENGINE_GONE = re.compile(
    r"Cannot connect to the Docker daemon|error reading from server: EOF|code = Unavailable"
    r"|docker daemon is not running|dial unix|closing transport|session healthcheck failed",
)
WORTH_TELLING = 0.05  # seconds

_KINDS = {"apt": "apt packages", "pip": "Python packages", "conda": "conda packages"}
_FOR = {"build": " to build with", "tools": " to install with"}

_PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy")

_FULL = re.compile(r"no space left on device", re.IGNORECASE)
# Two layers that are the same are written at once; BuildKit waits, and writes it again.
_WAITS = re.compile(r"\(\*service\)\.Write failed: .* ref \S+ locked for ")


@dataclass(frozen=True, slots=True)
class Request:
    """One build of a context folder, to ``target``: an OCI layout of an image named ``name``, or its tree as
    a tar archive. A layout may hold blobs already.

    ``layouts`` holds OCI layouts of base images by name with digest, ``folders`` other folders by the name
    of the stage that they stand for. No step has a network, or a secret. With ``gzip`` all layers are
    compressed so, those of the base image too.
    """

    context: Path
    name: str
    epoch: int
    target: Path
    platform: str
    kind: Literal["layout", "tree"] = "layout"
    arguments: Mapping[str, str] = field(default_factory=dict)
    layouts: Mapping[str, str] = field(default_factory=dict)
    folders: Mapping[str, Path] = field(default_factory=dict)
    cache: bool = True
    gzip: bool = False


def build(request: Request, log: Log, stop: Stop) -> tuple[Step, ...]:
    """Build and return the steps. Raises BuildFailed (or a kind of it) with the step that broke.

    The target is whole afterwards only if all went well.
    """
    reader = _Reader(log)
    target = os.path.relpath(request.target, _home(request))
    output = f"type=oci,tar=false,dest={target},name={request.name},rewrite-timestamp=true"
    if request.gzip:
        output += ",compression=gzip,force-compression=true"
    if request.kind == "tree":
        output = f"type=tar,dest={target}"
    argv = ["docker", "buildx", "build", "--progress=rawjson", "--output", output, *_options(request)]
    status = stream(argv, reader.feed, stop=stop, cwd=_home(request))
    if status:
        raise reader.failure(log, request.target)
    return reader.steps


def debug(request: Request) -> None:
    """Build once more on the caller's terminal, with a shell in the step that breaks.

    ``buildx debug`` keeps the state of the broken step; it is experimental, so it must be asked for.
    """
    argv = ["docker", "buildx", "debug", "--invoke", "/bin/bash", "--on", "error", "build"]
    attach(
        [*argv, "--output", "type=cacheonly", *_options(request)],
        cwd=_home(request),
        environment={"BUILDX_EXPERIMENTAL": "1"},
    )


def _home(request: Request) -> Path:
    """Where buildx runs, so that the paths it is told are short and relative: commas, colons and at
    signs in the path of a checkout would mean something to it.
    """
    return request.context.parent


def _options(request: Request) -> list[str]:
    arguments = {**request.arguments, "SOURCE_DATE_EPOCH": str(request.epoch)}
    options = ["--provenance=false", "--sbom=false", "--pull=false", f"--platform={request.platform}"]
    for name, value in arguments.items():
        options += ["--build-arg", f"{name}={value}"]
    # Steps would get them, with their passwords, out of the caller's Docker settings (config.json).
    for name in _PROXIES:
        options += ["--build-arg", f"{name}=", "--build-arg", f"{name.upper()}="]
    for name, layout in request.layouts.items():
        place = os.path.relpath(layout, _home(request))
        options += ["--build-context", f"{name}=oci-layout://{place}@{name.rpartition('@')[2]}"]
    for name, folder in request.folders.items():
        options += ["--build-context", f"{name}={os.path.relpath(folder, _home(request))}"]
    if not request.cache:
        options.append("--no-cache")
    return [*options, request.context.name]


class _Reader:
    """Follows buildx's rawjson progress (BuildKit's SolveStatus, one JSON object a line)."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._names: dict[str, str] = {}
        self._started: set[str] = set()
        self._tails: dict[str, deque[str]] = {}
        self._rests: dict[str, bytes] = {}  # of lines that are not whole yet
        self._broken: tuple[str, str] | None = None  # digest of the step, and its error
        self._unread: deque[str] = deque(maxlen=TAIL_LINES)
        self._steps: dict[str, Step] = {}

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps that ended well, in the order in which they began to end."""
        return tuple(self._steps.values())

    def feed(self, line: str) -> None:
        """Take one line that buildx wrote."""
        try:
            event = json.loads(line)
        except ValueError:
            event = None
        if not isinstance(event, dict):
            if line.strip() and not _WAITS.search(line):
                self._unread.append(line)
                self._log.line(line)
            return
        for vertex in event.get("vertexes") or ():
            self._vertex(vertex)
        for entry in event.get("logs") or ():
            self._hear(entry.get("vertex", ""), base64.b64decode(entry.get("data", "")))

    def failure(self, log: Log, target: Path | None = None) -> BuildFailed | EngineError:
        """What went wrong in making ``target``, from what was read."""
        for vertex in list(self._rests):
            self._tell(vertex, self._rests.pop(vertex))
        digest, error = self._broken or ("", "")
        step = self._names.get(digest, "")
        tail = list(self._tails.get(digest, ())) or list(self._unread)
        # What a step wrote is its own affair; what buildx says of it is the engine's word.
        words = "\n".join([*self._unread, error])
        text = "\n".join([*tail, words])
        told: dict[str, Any] = {"step": step, "tail": tail, "log": log.path}
        # First: where a disk is full, a connection may break as well.
        if target and re.search(rf"{re.escape(target.name)}(/\S*)?: no space left", text, re.IGNORECASE):
            return DiskFull(
                f"{log.id}: no space is left in {target.parent}",
                hint="free some space there, then run the same command again",
                **told,
            )
        if _ENGINE_GONE.search(words):
            return EngineError(
                f"{log.id}: the Docker Engine stopped answering during the build",
                hint="run ci/setup, which starts it, then the same command again",
            )
        if _FULL.search(text):
            return DiskFull(
                f"{log.id}: no space is left where the image is built",
                hint="free some space: docker system df shows what holds it",
                **told,
            )
        code = re.search(r"exit code: (\d+)", error)
        how = f"ended with status {code[1]}" if code else error or "failed"
        hint = "no step has a network: declare what it needs under 'inputs'" if _NETWORK(text) else ""
        return BuildFailed(f"{log.id}: step '{step or 'build'}' {how}", hint=hint, **told)

    def _hear(self, vertex: str, data: bytes) -> None:
        """A piece of what a step writes, which may end in the middle of a line."""
        *lines, rest = re.split(rb"[\r\n]+", self._rests.pop(vertex, b"") + data)
        if rest:
            self._rests[vertex] = rest
        for line in lines:
            self._tell(vertex, line)

    def _tell(self, vertex: str, line: bytes) -> None:
        text = line.decode("utf-8", "replace")
        if text.strip():
            self._tails.setdefault(vertex, deque(maxlen=TAIL_LINES)).append(text)
            self._log.line(text)

    def _vertex(self, vertex: Mapping[str, Any]) -> None:
        digest, raw = vertex.get("digest", ""), vertex.get("name", "")
        if vertex.get("completed") or vertex.get("error"):
            self._tell(digest, self._rests.pop(digest, b""))
        name = self._names.setdefault(digest, step_name(raw))
        if vertex.get("error"):
            if "context canceled" not in vertex["error"]:  # other steps end with the one that broke
                self._broken = self._broken or (digest, vertex["error"])
            return
        if raw.startswith("[internal]") or "load metadata for" in raw or not vertex.get("started"):
            return
        if digest not in self._started and not vertex.get("cached"):
            self._started.add(digest)
            self._log.step(name)
        if vertex.get("completed"):
            self._complete(digest, name, vertex)

    def _complete(self, digest: str, name: str, vertex: Mapping[str, Any]) -> None:
        """A step may complete more than once, such as a source that is looked up and then fetched."""
        seconds = max(_time(vertex["completed"]) - _time(vertex["started"]), 0.0)
        before = self._steps.get(digest)
        step = Step(name, round(seconds + (before.seconds if before else 0), 3), bool(vertex.get("cached")))
        self._steps[digest] = step
        if step.cached or seconds >= WORTH_TELLING:
            self._log.step_done(step)


def step_name(raw: str) -> str:
    """A short name for one of BuildKit's steps, such as ``[build 2/5] RUN --mount=… make``."""
    match = re.match(r"\[(?:(\S+) )?\s*\d+/\d+\] (.*)", raw, re.DOTALL)
    stage, words = (match[1] or "", match[2]) if match else ("", raw)
    of_part = stage.startswith("part-")
    prefix = f"{stage}: " if of_part or stage in ("build", "pip", "conda") else ""
    words = " ".join(words.replace("\\\n", " ").split())
    if words.startswith("RUN"):
        step = re.search(r"source=steps/(\w+)-(\w+)\.sh", words)
        if step:
            return f"install {_KINDS.get(step[1], step[1])}" + _FOR.get(step[2], "")
        words = re.sub(r"^RUN( --\S+)*", "", words).strip()
        if "sh /recipe/install.sh" in words:
            return f"{prefix}install.sh"
        if "sh /commands.sh" in words:
            return f"{prefix}list the commands"
        if "userdel " in words:
            return f"{prefix}make room for the user"
        if "useradd " in words:
            return f"{prefix}add the user"
    if words.startswith("FROM ") or raw.startswith("[context"):
        return "load the base image"
    if raw.startswith("exporting"):
        return "write the image"
    return prefix + (words if len(words) <= 60 else words[:57] + "...")


def _time(stamp: str) -> float:
    # Go writes nanoseconds; Python reads up to microseconds.
    return datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", stamp)).timestamp()


def base_reference(name: str, digest: str) -> str:
    """The name by digest under which builds know a base image."""
    return f"imagefactory/{name}@{digest}"
