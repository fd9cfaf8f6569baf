"""An image spec to a definition file that Apptainer builds by itself, in the rendered context's folder."""

from __future__ import annotations

import dataclasses
import re

from imagefactory.model.spec import File, ImageSpec, UnpinnedSpec
from imagefactory.system.templates import fill
from imagefactory.targets.common.content import build_values, fixed_environment, labels
from imagefactory.targets.sif.metadata import SYSTEM_PATH, metadata


def render_definition(spec: ImageSpec | UnpinnedSpec, input_digest: str | None) -> File:
    """``<id>.def``. Format: https://apptainer.org/docs/user/main/definition_files.html"""
    image = spec.image
    variables = {"LANG": "C.UTF-8", **fixed_environment(spec)}
    if image.needs.gpu:
        variables |= {"NVIDIA_VISIBLE_DEVICES": "all", "NVIDIA_DRIVER_CAPABILITIES": "compute,utility"}
    variables["PATH"] = ":".join((*image.path, SYSTEM_PATH))
    ours = {**labels(spec, input_digest), "org.opencontainers.image.base.name": spec.base.published}
    more = "More is in /etc/imagefactory/README.md, inside." if image.folder.readme else ""
    data, filled = metadata(ours, variables, more), build_values(spec)
    values = {
        **filled,
        "packages": any(name in filled["steps"] for name in ("pip-image", "conda-image")),
        "labels": ours,
        "data": dataclasses.replace(data, help=re.sub(r"\{(?=\{)", "{ ", data.help)),
    }
    text = fill(__package__, "image.def.j2", values)
    # In two quoted halves, which a shell joins again: Apptainer would look for a variable of that name.
    text = re.sub(r"\{(?=\{)", "{''", text)
    for name in ("BOOTSTRAP", "BASE"):  # no value holds control characters
        text = text.replace(f"\x01{name}\x02", f"{{{{ {name} }}}}")
    return File(f"{image.id}.def", 0o644, text.encode())
