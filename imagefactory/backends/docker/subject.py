"""An image under test in the Docker Engine: one fresh container for each command."""

from __future__ import annotations

import contextlib
import json
import shlex
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import docker
from docker.errors import NotFound

from imagefactory.backends.docker import layers
from imagefactory.backends.docker.engine import ID_LABEL, OWNER_LABEL, Engine, explained
from imagefactory.errors import EngineError
from imagefactory.model.spec import Artifact, BuiltBase
from imagefactory.run import Stop
from imagefactory.testing.subject import MIB, Call, Entry, Outcome

WORK = "/work"
_TMP = "/tmp"  # noqa: S108  # a tmpfs inside the container
TMP_BYTES = 64 * MIB


class DockerSubject:
    """Runs commands as an image's entry point would, within the bounds of a call."""

    def __init__(
        self, engine: Engine, artifact: Artifact, base: BuiltBase, scratch: Path, stop: Stop
    ) -> None:
        self._engine = engine
        self._artifact = artifact
        self._base = base
        self._scratch = scratch
        self._stop = stop
        self._facts = engine.image(artifact.reference)
        if self._facts is None:
            raise EngineError(f"the image {artifact.reference} is gone from the Docker Engine")
        self._open: set[str] = set()
        self.local = engine.local

    def close(self) -> None:
        """Remove every container that is still there."""
        for container in list(self._open):
            self._remove(container)

    def knows_base(self) -> bool:
        """Whether the base image that this one was built on is still here."""
        built_on = self.labels().get("org.opencontainers.image.base.digest")
        return built_on == self._base.digest and self._base_manifest().is_file()

    def _base_manifest(self) -> Path:
        return Path(self._base.layout) / "blobs" / self._base.digest.replace(":", "/")

    def labels(self) -> Mapping[str, str]:
        """The image's labels."""
        return self._config().get("Labels") or {}

    def settings(self) -> str:
        """The image's configuration and history, as JSON."""
        with explained():
            api: Any = self._engine.client.api
            history = api.history(self._artifact.reference)
        return json.dumps({"config": self._config(), "history": history})

    def entries(self) -> Iterator[Entry]:
        """Every path of every layer, from the base up."""
        base_layers = frozenset(layers.layer_digests(self._base_manifest().read_bytes()))
        with explained():
            export = self._engine.client.api.get_image(self._artifact.reference)
            yield from layers.entries(export, base_layers, self._scratch)

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

    def _start(self, call: Call) -> str:
        uid, gid = call.user
        work = f"size={call.write_limit},uid={uid},gid={gid},mode=0755"
        tmpfs = {_TMP: f"size={TMP_BYTES},mode=1777,exec"}
        mounts = [_bind(m.source, m.target, writable=m.writable) for m in call.mounts]
        if call.in_folder:
            mounts.append(_bind(call.in_folder, WORK, writable=True))
        else:
            tmpfs[WORK] = f"{work},exec"
        api: Any = self._engine.client.api
        with explained():
            # What is written to the working folder is memory too.
            memory = call.memory_limit + call.write_limit + TMP_BYTES
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
                self._artifact.reference,
                entrypoint=["sleep"],
                command=["infinity"],
                user=f"{uid}:{gid}",
                working_dir=WORK,
                host_config=host,
                labels={OWNER_LABEL: self._engine.owner, ID_LABEL: self._artifact.id},
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
        api: Any = self._engine.client.api
        argv = [*(self._config().get("Entrypoint") or ()), *call.command]
        stopped: list[str] = []

        def out_of_time() -> None:
            stopped.append(f"ran longer than its limit of {call.time_limit:g} seconds")
            self._kill(container)

        timer = threading.Timer(call.time_limit, out_of_time)
        start = time.monotonic()
        pieces: list[bytes] = []
        size = 0
        with explained():
            process = api.exec_create(container, argv, user=f"{call.user[0]}:{call.user[1]}", workdir=WORK)[
                "Id"
            ]
            timer.start()
            try:
                for piece in api.exec_start(process, stream=True):
                    size += len(piece)
                    if size <= call.write_limit:
                        pieces.append(piece)
                    elif not stopped:  # what is still on its way is read and dropped
                        stopped.append(f"wrote more than its limit of {call.write_limit >> 20} MiB")
                        self._kill(container)
                status, killed = self._status(process, container)
            finally:
                timer.cancel()
            seconds = time.monotonic() - start
        if killed and not stopped and not self._stop:
            stopped.append(f"needed more memory than its limit of {call.memory_limit >> 20} MiB")
        output = b"".join(pieces).decode("utf-8", "replace")
        sizes: dict[str, int] = {}
        if not stopped:
            full, sizes = self._written(container, call)
            stopped += [f"wrote more to {where} than its limit of {limit >> 20} MiB" for where, limit in full]
        return Outcome(status, output, seconds, "; ".join(stopped), sizes)

    def _status(self, process: str, container: str) -> tuple[int, bool]:
        """The exit status, and whether the kernel killed something for want of memory."""
        api: Any = self._engine.client.api
        # What the command wrote may end before the command does.
        while (ended := api.exec_inspect(process))["Running"]:
            self._stop.wait(0.05)
            self._stop.check()
        status = ended["ExitCode"]
        state: dict[str, Any] = api.inspect_container(container)["State"]
        return (-1 if status is None else int(status)), bool(state.get("OOMKilled")) and status != 0

    def _written(self, container: str, call: Call) -> tuple[list[tuple[str, int]], dict[str, int]]:
        """The folders that are full, with their limits, and the sizes of the expected files."""
        api: Any = self._engine.client.api
        files = " ".join(shlex.quote(f"./{file}") for file in call.expect)
        script = f"stat -f -c %a {WORK} {_TMP}"
        script += f'; for f in {files}; do [ -f "$f" ] && wc -c <"$f" || echo -; done'
        with explained():
            process = api.exec_create(
                container,
                ["/bin/sh", "-c", script],
                user=f"{call.user[0]}:{call.user[1]}",
                workdir=WORK,
            )["Id"]
            free_work, free_tmp, *sizes = api.exec_start(process).decode().split()
        limits = [(WORK, call.write_limit, free_work), (_TMP, TMP_BYTES, free_tmp)]
        full = [(folder, limit) for folder, limit, free in limits if free == "0"]
        return full, {f: int(n) for f, n in zip(call.expect, sizes, strict=False) if n.isdecimal()}

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
