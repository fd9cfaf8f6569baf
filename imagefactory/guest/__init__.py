"""The room that runs virtual machines on this machine, and reads their disks: the owner of QEMU, its
firmware, seeds, and ssh.
"""

from imagefactory.guest.accel import Accelerator, accelerator
from imagefactory.guest.boot import boot
from imagefactory.guest.guest import Guest
from imagefactory.guest.options import BootOptions
from imagefactory.guest.programs import engine_versions
from imagefactory.guest.seed import Seed
from imagefactory.guest.ssh import Outcome

__all__ = [
    "Accelerator",
    "BootOptions",
    "Guest",
    "Outcome",
    "Seed",
    "accelerator",
    "boot",
    "engine_versions",
]
