"""An image spec to a definition file that Apptainer builds by itself, in the rendered context's folder."""

from __future__ import annotations

from imagefactory.backends.apptainer.metadata import metadata
from imagefactory.backends.common.content import build_values, fixed_environment, labels
from imagefactory.model.spec import File, ImageSpec
from imagefactory.templates import fill

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def render_definition(spec: ImageSpec, input_digest: str) -> File:
    """``<id>.def``. Format: https://apptainer.org/docs/user/main/definition_files.html"""
    image = spec.image
    variables = {"LANG": "C.UTF-8", **fixed_environment(spec)}
    if image.needs.gpu:
        variables |= {"NVIDIA_VISIBLE_DEVICES": "all", "NVIDIA_DRIVER_CAPABILITIES": "compute,utility"}
    variables["PATH"] = ":".join((*image.path, _PATH))
    found = {**labels(spec, input_digest), "org.opencontainers.image.base.name": spec.base.published}
    lock = spec.lock
    values = {
        **build_values(spec),
        "packages": bool(lock.image.pip or lock.image.conda),
        "labels": found,
        "data": metadata(found, variables, ("/bin/bash",)),
    }
    text = fill(__package__, "image.def.j2", values)
    # In two quoted halves, which a shell joins again: Apptainer would look for a variable of that name.
    text = (
        text.replace("{{", "{''{")
        .replace("<<BOOTSTRAP>>", "{{ BOOTSTRAP }}")
        .replace("<<BASE>>", "{{ BASE }}")
    )
    return File(f"{image.id}.def", 0o644, text.encode())
