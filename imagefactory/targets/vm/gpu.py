"""GPUs of machines: what is done about them at each start, and said of them to whoever logs in."""

from __future__ import annotations

from imagefactory.model.spec import File, ImageDefinition
from imagefactory.system.templates import fill, text_of

_UNIT = "imagefactory-gpu.service"
_UNITS = "usr/lib/systemd/system"
GPU_LINKS = {f"{_UNITS}/multi-user.target.wants/{_UNIT}": f"../{_UNIT}"}
"""Links that have the machine start it, with where they lead."""


def gpu_files(image: ImageDefinition) -> tuple[File, ...]:
    """The check, and what starts it; none for an application without need of a GPU. Pure."""
    gpu = image.needs.gpu
    if gpu is None:
        return ()
    script = fill(__package__, "gpu.sh.j2", {"title": image.title, "cuda": gpu.cuda, "driver": gpu.driver})
    return (
        File("usr/local/sbin/imagefactory-gpu", 0o755, script.encode()),
        File(f"{_UNITS}/{_UNIT}", 0o644, text_of(__package__, _UNIT).encode()),
    )
