"""Texts for people: without secrets that this run knows of, and without what a terminal would obey."""

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


def harmless(text: str, keep: str = "\t") -> str:
    """``text`` with a space for whatever does not show, and is not in ``keep``: one line stays one.

    What upstreams and builds say may hold sequences that a terminal obeys, or that turn what is read around.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else " " for c in text)
