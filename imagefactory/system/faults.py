"""What programs say when the network is at fault: words that many share, beside those of each."""

from __future__ import annotations

import re

_SHARED = (
    r"Could not (?:connect|resolve|handshake)",
    r"(?:Failed|Unable) to connect",
    r"Temporary failure",
    r"Connection (?:refused|reset|timed out|failed)",
    r"Failed to fetch",
    r"network is unreachable",
    r"unable to access",
)


def network_words(*own: str) -> re.Pattern[str]:
    """Finds them in what a program wrote: the shared ones, and regular expressions of its ``own``."""
    return re.compile("|".join((*_SHARED, *own)), re.IGNORECASE)
