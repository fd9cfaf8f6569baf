"""What the steps have in common that install whatever upstreams have when they run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from imagefactory.model.recipe import pip_name

BEGIN = """\
# A folder of its own: where Apptainer builds, /tmp is this machine's.
work=$(mktemp -d)
export HOME="$work/home" PYTHONHASHSEED=0 DEBIAN_FRONTEND=noninteractive
mkdir "$HOME"
# Where a proxy re-signs TLS, a build is given its certificates as the secret 'ca'.
if [ -f /run/secrets/ca ]; then
    export SSL_CERT_FILE=/run/secrets/ca PIP_CERT=/run/secrets/ca
fi
apt-get update
apt-get install --yes --no-install-recommends ca-certificates python3-pip
"""
"""What brings pip, which brings the installer; both stay in the stage that installs."""


def python_project(
    packages: Sequence[str], indexes: Mapping[str, tuple[str, Sequence[str]]], python: str
) -> str:
    """A ``pyproject.toml`` that needs ``packages`` and runs with ``python`` or newer.

    It is the one way to tell uv which package comes from which index: ``indexes`` are by name, each with its
    address and the packages that come from there.
    """
    named = {pip_name(p) for p in packages}
    extra = [p for _, theirs in indexes.values() for p in theirs if pip_name(p) not in named]
    lines = [
        "[project]",
        'name = "inputs"',
        'version = "0"',
        f'requires-python = ">={python}"',
        f"dependencies = {json.dumps([*packages, *extra])}",
    ]
    if indexes:
        lines.append("[tool.uv.sources]")
    for name, (_, theirs) in indexes.items():
        lines += [f"{json.dumps(p)} = {{ index = {json.dumps(name)} }}" for p in theirs]
    for name, (address, _) in indexes.items():
        lines += [
            "[[tool.uv.index]]",
            f"name = {json.dumps(name)}",
            f"url = {json.dumps(address)}",
            "explicit = true",
        ]
    return "\n".join(lines) + "\n"
