"""One stored file as it is read: by whoever uses it, and hashed on the way."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from imagefactory.errors import BuildFailed
from imagefactory.system.shared import is_ours_alone, owner, path_of

PIECE = 1 << 20


class Reading:
    """A stored file that is read from its beginning, and hashed on the way. What was read is good once
    ``check`` has said nothing.
    """

    def __init__(self, handle: int, facts: os.stat_result, sha256: str, fault: Fault) -> None:
        self.bytes = facts.st_size
        self._handle = handle
        self._ours = is_ours_alone(facts)
        self._left = facts.st_size
        self._sha256 = sha256
        self._hash = hashlib.sha256()
        self._fault = fault

    def read(self, count: int = PIECE, /) -> bytes:
        """The next bytes, none at the end. Raises BuildFailed where it can't be read."""
        try:
            data = os.read(self._handle, min(count, self._left))
        except OSError as error:
            raise self._fault.told(f"cannot be read: {error.strerror}") from None
        if self._left and count and not data:
            raise self._fault.told("became shorter")
        self._left -= len(data)
        self._hash.update(data)
        return data

    def check(self) -> None:
        """Read what is left. Raises BuildFailed where the whole is not what its name says."""
        while self.read():
            pass
        if self._hash.hexdigest() != self._sha256:
            raise self._fault.told("has another content")

    def link(self, target: Path) -> bool:
        """Have the very file that is read stand at ``target`` too, if only we can change it; whether it does.

        Raises FileExistsError.
        """
        if not self._ours:
            return False
        try:
            # With a folder, if only in name, Python has the system follow the path to the open file.
            os.link(path_of(self._handle), target, src_dir_fd=self._handle, follow_symlinks=True)
        except FileExistsError:
            raise
        except OSError:  # another file system, or one without such links
            return False
        return True


@dataclass(frozen=True, slots=True)
class Fault:
    """What is told of a stored file that can't be used."""

    what: str
    path: Path
    user: int | None = None

    def told(self, flaw: str) -> BuildFailed:
        """The failure, with whoever can mend it."""
        hint = "run imagefactory store verify, which removes it, then the same command again"
        if self.user is not None and os.geteuid() not in (0, self.user):
            whose = owner(self.user)
            hint = f"it belongs to {whose}, who can remove it: until then name another store in site.yaml"
        return BuildFailed(f"{self.what} is damaged: {self.path} {flaw}", hint=hint)
