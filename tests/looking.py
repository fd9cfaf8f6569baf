"""Looking at something again and again, beside what a test does."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from typing import Self


class Looking(ABC):
    """Looks in a thread of its own while the block runs, with so many seconds ``pause`` between two looks."""

    def __init__(self, pause: float) -> None:
        self._pause = pause
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._go_on, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._end.set()
        self._thread.join()

    @abstractmethod
    def look(self) -> None:
        """Look once."""

    def _go_on(self) -> None:
        while not self._end.wait(self._pause):
            self.look()
