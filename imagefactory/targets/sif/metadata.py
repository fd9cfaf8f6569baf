"""What Apptainer reads in an image: environment, run script, test, help, labels and apps.

It all follows from an OCI image's configuration, so that the same image always says the same. Where the files
are and how they are used: https://apptainer.org/docs/user/main/environment_and_metadata.html
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from imagefactory.model.spec import File
from imagefactory.system.templates import fill, text_of
from imagefactory.targets.common.content import COMMANDS_LABEL, ID_LABEL
from imagefactory.targets.sif.foreign import FOREIGN

PLACE = ".singularity.d"
APPS = "scif/apps"
_OCI = "org.opencontainers.image."
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Metadata:
    """The texts, each without a first line that names a shell. ``late`` follows after all else of the
    environment; ``apps`` holds one run script by name.
    """

    labels: Mapping[str, str]
    environment: str
    libraries: str
    late: str
    runscript: str
    test: str
    help: str
    apps: Mapping[str, str]


def metadata_of_image(
    config: Mapping[str, Any], readme: str = "", commands: Sequence[str] | None = None
) -> Metadata:
    """Out of an OCI image's configuration, what its users should know, and all its commands by name."""
    inner = config["config"]
    variables = dict(entry.split("=", 1) for entry in inner.get("Env") or ())
    return metadata(inner.get("Labels") or {}, variables, readme, commands)


def metadata(
    labels: Mapping[str, str],
    variables: Mapping[str, str],
    readme: str = "",
    commands: Sequence[str] | None = None,
) -> Metadata:
    """From labels and environment variables; ``readme`` ends the help. Where ``commands`` are not known by
    name, those of the labels are taken that are.
    """
    environment = {name: value for name, value in variables.items() if name != "PATH"}
    if commands is None:
        commands = [each for each in labels.get(COMMANDS_LABEL, "").split() if not set(each) & set("*?")]
    gpu = "NVIDIA_VISIBLE_DEVICES" in environment
    # One command needs no choice of apps.
    apps = {name: f'exec {shlex.quote(name)} "$@"\n' for name in commands} if len(commands) > 1 else {}
    values = {
        "id": labels.get(ID_LABEL, ""),
        "title": labels.get(f"{_OCI}title", ""),
        "version": labels.get(f"{_OCI}version", ""),
        "summary": labels.get(f"{_OCI}description", ""),
        "licence": labels.get(f"{_OCI}licenses", ""),
        "homepage": labels.get(f"{_OCI}url", ""),
        "path": variables.get("PATH", SYSTEM_PATH),
        "environment": environment,
        "commands": commands,
        "readme": readme,
        "gpu": gpu,
        "apps": apps,
        "foreign": (*FOREIGN, "LD_PRELOAD"),
    }
    return Metadata(
        labels=dict(labels),
        environment=fill(__package__, "environment.sh.j2", values),
        libraries=text_of(__package__, "libraries.j2"),
        late=text_of(__package__, "gpu.j2") if gpu else "",
        runscript=text_of(__package__, "runscript.j2"),
        test=fill(__package__, "test.j2", values),
        help=fill(__package__, "help.j2", values),
        apps=apps,
    )


def files_of(data: Metadata, definition: str) -> list[File]:
    """The files in the image's tree; ``definition`` says where it comes from."""
    files = [
        _script(f"{PLACE}/env/90-environment.sh", data.environment),
        # Apptainer looks for this name: what the caller sets goes after it.
        _script(f"{PLACE}/env/99-base.sh", data.libraries),
        _script(f"{PLACE}/runscript", data.runscript),
        _script(f"{PLACE}/test", data.test),
        # Alone among Apptainer's actions, this one is run as a file: `apptainer instance start`.
        _script(f"{PLACE}/actions/start", text_of(__package__, "start.j2")),
        File(f"{PLACE}/runscript.help", 0o644, data.help.encode()),
        File(f"{PLACE}/labels.json", 0o644, json.dumps(data.labels, indent=1, sort_keys=True).encode()),
        File(f"{PLACE}/Singularity", 0o644, definition.encode()),
    ]
    if data.late:
        files.append(_script(f"{PLACE}/env/99-imagefactory.sh", data.late))
    return files + [_script(f"{APPS}/{name}/scif/runscript", text) for name, text in data.apps.items()]


def summary(data: Metadata, definition: str) -> bytes:
    """What ``apptainer inspect`` answers from, without a look into the image."""
    attributes = {
        "apps": {name: {"runscript": f"#!/bin/sh\n{text}"} for name, text in data.apps.items()},
        "deffile": definition,
        "environment": {f"/{PLACE}/env/90-environment.sh": f"#!/bin/sh\n{data.environment}"},
        "helpfile": data.help,
        "labels": dict(data.labels),
        "runscript": f"#!/bin/sh\n{data.runscript}",
        "test": f"#!/bin/sh\n{data.test}",
    }
    return json.dumps({"data": {"attributes": attributes}, "type": "container"}, sort_keys=True).encode()


def _script(path: str, text: str) -> File:
    return File(path, 0o755, f"#!/bin/sh\n{text}".encode())
