"""The room that runs virtual machines on this machine, and reads their disks: the owner of QEMU, its
firmware, seeds, and ssh.
"""

from imagefactory.guest.accel import Accelerator, accelerator
from imagefactory.guest.boot import boot
from imagefactory.guest.confine import confining_words
from imagefactory.guest.disk import DiskReader, copy_raw, open_disk
from imagefactory.guest.facts import file_facts
from imagefactory.guest.guest import Guest
from imagefactory.guest.listing import Entry, Partition, Space
from imagefactory.guest.options import BootOptions, Volume
from imagefactory.guest.outside import key_and_seed
from imagefactory.guest.programs import engine_versions
from imagefactory.guest.seed import Seed
from imagefactory.guest.ssh import Ended
from imagefactory.guest.words import processor

__all__ = [
    "Accelerator",
    "BootOptions",
    "DiskReader",
    "Ended",
    "Entry",
    "Guest",
    "Partition",
    "Seed",
    "Space",
    "Volume",
    "accelerator",
    "boot",
    "confining_words",
    "copy_raw",
    "engine_versions",
    "file_facts",
    "key_and_seed",
    "open_disk",
    "processor",
]
