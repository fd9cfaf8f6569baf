"""What programs say when the network is at fault: words that many share, beside those of each."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable

_SHARED = (
    r"Could not (?:connect|resolve|handshake)",
    r"(?:Failed|Unable) to connect",
    r"Temporary failure",
    r"Connection (?:refused|reset|timed out|failed)",
    r"Failed to fetch",
    r"network is unreachable",
    r"unable to access",
)


def network_words(*own: str) -> Callable[[str], bool]:
    """Whether they are in what a program wrote: the shared ones, or regular expressions of its ``own``."""

    @functools.cache  # compiled where something went wrong, and not each time that the program starts
    def pattern() -> re.Pattern[str]:
        return re.compile("|".join((*_SHARED, *own)), re.IGNORECASE)

    return lambda text: pattern().search(text) is not None
