"""Lock files: ``recipes/<name>/lock.yaml`` and ``base_images/<name>.lock.yaml``; what fetching told since."""

from imagefactory.locks.changes import Change, changes
from imagefactory.locks.fetched import completed, fetched_file, read_fetched, write_fetched
from imagefactory.locks.files import base_lock_file, lock_file, read_locks, write_locks
from imagefactory.locks.request import base_request, image_request

__all__ = [
    "Change",
    "base_lock_file",
    "base_request",
    "changes",
    "completed",
    "fetched_file",
    "image_request",
    "lock_file",
    "read_fetched",
    "read_locks",
    "write_fetched",
    "write_locks",
]
