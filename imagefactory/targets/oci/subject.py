"""An image under test in the Docker Engine: one fresh container for each command."""

from __future__ import annotations

import contextlib
import json
import shlex
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
from docker.errors import NotFound

from imagefactory.errors import EngineError
from imagefactory.system.processes import Stop, attach
from imagefactory.targets.common.engine import ID_LABEL, OWNER_LABEL, Engine, explained
from imagefactory.targets.oci import layers
from imagefactory.targets.oci.survey import Entry
from imagefactory.testing.subject import MIB, Call, Outcome

WORK = "/work"
_TMP = "/tmp"  # noqa: S108  # a tmpfs inside the container
TMP_BYTES = 64 * MIB
MAX_OUTPUT_BYTES = 8 * MIB  # the last of a command's output, as far as tests look at it
GRACE_SECONDS = 15
ATTEMPTS = 5
OUTPUT = "/run/output/all"
_OUT = "/run/output"
_END = "=end="


@dataclass(frozen=True, slots=True)
class _Written:
    """A command's output, the folders that it filled, in words, and the sizes of its files."""

    output: str
    full: list[str]
    sizes: dict[str, int]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an image's layers are to be had: its base image's OCI layout and digest, and an OCI archive of
    the whole image, if one is at hand.
    """

    layout: Path | None = None
    digest: str = ""
    image: Path | None = None


class OciSubject:
    """Runs commands of an image as its entry point would, within the bounds of a call."""

    def __init__(
        self, engine: Engine, id: str, reference: str, origin: Origin, scratch: Path, stop: Stop
    ) -> None:
        self._engine = engine
        self._id = id
        self._reference = reference
        self._origin = origin
        self._scratch = scratch
        self._stop = stop
        self._facts = engine.image(reference)
        if self._facts is None:
            raise EngineError(f"the image {reference} is gone from the Docker Engine")
        self._open: set[str] = set()
        self.local = engine.local

    def close(self) -> None:
        """Remove every container that is still there."""
        for container in list(self._open):
            self._remove(container)

    def knows_base(self) -> bool:
        """Whether the base image that this one was built on is still here."""
        built_on = self.labels().get("org.opencontainers.image.base.digest")
        manifest = self._base_manifest()
        return built_on == self._origin.digest and manifest is not None and manifest.is_file()

    def _base_manifest(self) -> Path | None:
        layout = self._origin.layout
        return layout / "blobs" / self._origin.digest.replace(":", "/") if layout else None

    def labels(self) -> Mapping[str, str]:
        """The image's labels."""
        return self._config().get("Labels") or {}

    def settings(self) -> str:
        """The image's configuration and history, as JSON."""
        with explained():
            api: Any = self._engine.client.api
            history = api.history(self._reference)
        return json.dumps({"config": self._config(), "history": history})

    def entries(self) -> Iterator[Entry]:
        """Every path of every layer above the base image's, with those that a later layer deletes."""
        manifest = self._base_manifest()
        assert manifest
        of_base = len(layers.layer_digests(manifest.read_bytes()))
        image = self._origin.image or self._scratch / "survey.tar"
        if not self._origin.image:
            self._engine.save(self._reference, image)
        yield from layers.entries(image, of_base)
        if not self._origin.image:
            image.unlink()

    def run(self, call: Call) -> Outcome:
        """Run one command and return how it ended. Raises EngineError, or Interrupted on a stop."""
        self._stop.check()
        container = self._start(call)
        try:
            with self._stop.ends(lambda: self._kill(container)):
                outcome = self._execute(container, call)
            self._stop.check()
            return outcome
        finally:
            self._remove(container)

    def enter(self, call: Call) -> int:
        """Run a command on the caller's terminal, which it has for as long as it likes; its exit status."""
        container = self._start(call)
        entry = self._config().get("Entrypoint") or ()
        user = f"{call.user[0]}:{call.user[1]}"
        try:
            words = ["docker", "exec", "--interactive", "--tty", f"--user={user}", f"--workdir={WORK}"]
            return attach([*words, container, *entry, *call.command])
        finally:
            self._remove(container)

    def _start(self, call: Call) -> str:
        uid, gid = call.user
        work = f"size={call.write_limit},uid={uid},gid={gid},mode=0755"
        tmpfs = {_TMP: f"size={TMP_BYTES},mode=1777,exec", _OUT: work}
        mounts = [_bind(m.source, m.target, writable=m.writable) for m in call.mounts]
        if call.in_folder:
            mounts.append(_bind(call.in_folder, WORK, writable=True))
        else:
            tmpfs[WORK] = f"{work},exec"
        api: Any = self._engine.client.api
        with explained():
            # What is written to these folders is memory too.
            memory = call.memory_limit + 2 * call.write_limit + TMP_BYTES
            host = api.create_host_config(
                mounts=mounts,
                tmpfs=tmpfs,
                read_only=True,
                network_mode="none",
                mem_limit=memory,
                memswap_limit=memory,
                pids_limit=2048,
                cap_drop=["ALL"],
                security_opt=["no-new-privileges"],
            )
            created = api.create_container(
                self._reference,
                entrypoint=["sleep"],
                command=["infinity"],
                hostname="container",  # as in tests of other kinds: its name must not make a difference
                user=f"{uid}:{gid}",
                working_dir=WORK,
                host_config=host,
                labels={OWNER_LABEL: self._engine.owner, ID_LABEL: self._id},
                use_config_proxy=False,  # the caller's Docker settings may hold one, with a password
            )
            container: str = created["Id"]
            self._open.add(container)
            try:
                api.start(container)
            except BaseException:
                self._remove(container)
                raise
        return container

    def _execute(self, container: str, call: Call) -> Outcome:
        """Run the command and read what it wrote from a file: an engine may lose what it streams."""
        limit = str(call.time_limit)
        argv = [*(self._config().get("Entrypoint") or ()), *call.command]
        wrapped = ["/bin/sh", "-c", f'exec timeout -k 5 "$0" "$@" >{OUTPUT} 2>&1', limit, *argv]
        start = time.monotonic()
        with explained():
            process = self._begin(container, call, wrapped)
            status = self._wait(process, start + call.time_limit + GRACE_SECONDS)
            seconds = time.monotonic() - start
            killed = self._engine.client.api.inspect_container(container)["State"].get("OOMKilled")
            written = self._written(container, call)
        stopped = written.full
        if killed and status != 0:  # first: what is short of memory is slow, too
            stopped = [f"needed more memory than its limit of {call.memory_limit >> 20} MiB"]
        elif status != 0 and seconds >= call.time_limit:
            stopped = [f"ran longer than its limit of {call.time_limit:g} seconds"]
        return Outcome(status, written.output, seconds, "; ".join(stopped), written.sizes)

    def _begin(self, container: str, call: Call, argv: list[str]) -> str:
        """Start a command in the container, and return the engine's name of it."""
        api: Any = self._engine.client.api
        user = f"{call.user[0]}:{call.user[1]}"
        process: str = api.exec_create(
            container, argv, user=user, workdir=WORK, environment=dict(call.environment)
        )["Id"]
        api.exec_start(process, detach=True)
        return process

    def _wait(self, process: str, deadline: float) -> int:
        """The exit status of a command, once it has ended. Raises Interrupted on a stop."""
        api: Any = self._engine.client.api
        while time.monotonic() < deadline:
            state = api.exec_inspect(process)
            if not state["Running"] and state["ExitCode"] is not None:
                return int(state["ExitCode"])
            self._stop.wait(0.05)
            self._stop.check()
        return -1

    def _written(self, container: str, call: Call) -> _Written:
        """What the command wrote. Asked again until the answer is whole: see _execute."""
        files = " ".join(shlex.quote(f"./{file}") for file in call.expect)
        script = f"echo $(stat -f -c %a {WORK} {_TMP} {_OUT}); "
        script += f'echo $(for f in {files}; do [ -f "$f" ] && wc -c <"$f" || echo -; done); '
        script += f"tail -c {MAX_OUTPUT_BYTES} {OUTPUT}; printf {_END}"
        api: Any = self._engine.client.api
        user = f"{call.user[0]}:{call.user[1]}"
        for _ in range(ATTEMPTS):
            asked = api.exec_create(container, ["/bin/sh", "-c", script], user=user, workdir=WORK)["Id"]
            answer = api.exec_start(asked).decode("utf-8", "replace")
            if answer.endswith(_END):
                break
            self._stop.check()
        else:
            raise EngineError("the Docker Engine does not pass on what a test wrote", hint="restart it")
        free, sizes, output = answer.removesuffix(_END).split("\n", 2)
        words = ("to /work ", "to /tmp ", "")
        limits = (call.write_limit, TMP_BYTES, call.write_limit)
        full = [
            f"wrote more {where}than its limit of {limit >> 20} MiB"
            for where, limit, blocks in zip(words, limits, free.split(), strict=True)
            if blocks == "0"
        ]
        counted = zip(call.expect, sizes.split(), strict=True)
        return _Written(output, full, {f: int(n) for f, n in counted if n.isdecimal()})

    def _kill(self, container: str) -> None:
        with contextlib.suppress(Exception):  # it may just have ended by itself
            self._engine.client.api.kill(container)

    def _remove(self, container: str) -> None:
        with explained(), contextlib.suppress(NotFound):
            self._engine.client.api.remove_container(container, force=True, v=True)
        self._open.discard(container)

    def _config(self) -> dict[str, Any]:
        assert self._facts is not None
        config: dict[str, Any] = self._facts["Config"]
        return config


def _bind(source: Path, target: str, *, writable: bool) -> docker.types.Mount:
    return docker.types.Mount(target, str(source), type="bind", read_only=not writable)
