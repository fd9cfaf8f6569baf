"""The words of all processes in the cloud, for everybody on a machine can read those."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

from tests.looking import Looking

_PAUSE = 0.2  # seconds between two looks


class Watch(Looking):
    """Notes them while the block runs."""

    def __init__(self) -> None:
        super().__init__(_PAUSE)
        self._words: set[bytes] = set()

    def that_tell(self, secrets: Iterable[str]) -> list[str]:
        """The programs whose words held one of the secrets."""
        wanted = [secret.encode() for secret in secrets]
        told = [words for words in self._words.copy() if any(secret in words for secret in wanted)]
        return sorted({words.split(b"\0")[0].decode(errors="replace") for words in told})

    def __len__(self) -> int:
        return len(self._words)

    def look(self) -> None:
        """Note the words of all that runs now."""
        for file in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                self._words.add(file.read_bytes())
