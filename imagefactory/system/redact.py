"""Secrets that this run knows of, and texts without them."""

from __future__ import annotations

import re

_secrets: set[str] = set()
_IN_ADDRESS = re.compile(r"(?<=://)[^/\s@]+(?=@)")  # a token may stand where a user name would


def keep_secret(text: str) -> None:
    """Never show ``text`` again, in no log and no message."""
    if text:
        _secrets.add(text)


def known_secrets() -> frozenset[str]:
    """Every secret that this run knows of."""
    return frozenset(_secrets)


def redact(text: str) -> str:
    """``text`` without any secret, and without user names and passwords in addresses."""
    # The longest first: a secret may be a part of another, whose rest would stay readable.
    for secret in sorted(_secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    return _IN_ADDRESS.sub("***", text)
