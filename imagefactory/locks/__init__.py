"""Lock files: ``recipes/<name>/lock.yaml`` and ``base_images/<name>.lock.yaml``."""

from imagefactory.locks.changes import Change, changes
from imagefactory.locks.files import base_lock_file, lock_file, read_locks, write_locks
from imagefactory.locks.request import base_request, image_request

__all__ = [
    "Change",
    "base_lock_file",
    "base_request",
    "changes",
    "image_request",
    "lock_file",
    "read_locks",
    "write_locks",
]
