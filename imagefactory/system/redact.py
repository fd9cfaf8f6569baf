"""Texts for people: without secrets that this run knows of, in whatever form they stand there, and without
what a terminal would obey.

Too short a secret is none here: where ``a`` was a password, every ``a`` would go.
"""

from __future__ import annotations

import base64
import functools
import json
import re
import shlex
import urllib.parse
from collections.abc import Iterator, Mapping
from typing import Any

MIN_SECRET = 6
"""Characters that a password has at least, or it is not hidden."""
MIN_VALUE = 8
"""Characters that a variable's value has at least, which only its name makes a secret."""
HIDDEN = "***"
_NAMES = re.compile(
    r"(?i)passw(or)?d|passphrase|secret|token|credential|auth_?config|(api|access|private)_?key"
    r"|(^|_)(pass|auth|key)$"
)
_IN_ADDRESS = re.compile(r"(?<=://)[^/\s]+(?=@)")  # a token may stand where a user name would
_LOGIN = re.compile(r"://([^/\s]+)@")
_NO_PASSWORDS = frozenset(("x-oauth-basic", "x-access-token"))  # the user name is the token then
_TOKEN = re.compile(r"(?=.*\d)(?=.*[A-Za-z])[\w.~+%-]{16,}|(gh[a-z]|glpat|github_pat|dckr_pat|hf)[_-].{8,}")

_secrets: dict[str, str] = {}  # each with what to call it


def keep_secret(text: str, name: str = "password") -> None:
    """Never show ``text`` again, in no log and no message; ``name`` is what people know it by."""
    if len(text) >= MIN_SECRET:
        _secrets.setdefault(text, name)


def keep_address(address: str) -> None:
    """Never show the password in an address again, nor a user name that is a token."""
    for login in _LOGIN.findall(address):
        user, _, password = login.partition(":")
        is_token = password in _NO_PASSWORDS or _TOKEN.fullmatch(user)
        for secret in (user if is_token else "", "" if password in _NO_PASSWORDS else password):
            keep_secret(secret)
            keep_secret(urllib.parse.unquote(secret))


def keep_variables(variables: Mapping[str, str]) -> None:
    """Never show again what stands in variables whose names say that they hold credentials, nor passwords in
    addresses.
    """
    for name, value in variables.items():
        if _NAMES.search(name) and could_be_secret(value):
            keep_secret(value, name)
        if "@" in value:
            keep_address(value)


def known_secrets() -> dict[str, str]:
    """Every secret that this run knows of, with what to call it."""
    return dict(_secrets)


def redact(text: str) -> str:
    """``text`` without any secret, and without user names and passwords in addresses."""
    for form in _known_forms(tuple(_secrets)):
        if form in text:
            text = text.replace(form, HIDDEN)
    return _IN_ADDRESS.sub(HIDDEN, text) if "@" in text else text


def harmless(text: str, keep: str = "\t") -> str:
    """``text`` with a space for whatever does not show, and is not in ``keep``: one line stays one.

    What upstreams and builds say may hold sequences that a terminal obeys, or that turn what is read around.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else " " for c in text)


def redacted(value: Any) -> Any:
    """A plain value, such as for JSON, with every text in it redacted; names of fields stay."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {key: redacted(each) for key, each in value.items()}
    return [redacted(each) for each in value] if isinstance(value, (list, tuple)) else value


def forms(secret: str) -> set[str]:
    """All that a secret may look like: as it is, in an address, in a header, in JSON and in a shell."""
    found = {secret, shlex.quote(secret), secret.replace("'", r"'\''")}
    found |= {json.dumps(secret, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False)}
    for quote in (urllib.parse.quote, urllib.parse.quote_plus):
        for safe in ("", "/", "!$&'()*+,;=:~"):
            quoted = quote(secret, safe=safe)
            found |= {quoted, re.sub("%..", lambda code: code[0].lower(), quoted)}
    return found | set(_base64_forms(secret.encode()))


def _base64_forms(secret: bytes) -> Iterator[str]:
    """Encoded by itself; and what is the same of it wherever it stands in something that is encoded as a
    whole, such as ``user:secret``: the characters that hold bits of nothing else.
    """
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        whole = encode(secret).decode()
        yield whole
        yield whole.rstrip("=")
        for before in range(3):
            bits = 8 * (before + len(secret))
            yield encode(b"\0" * before + secret).decode()[-(-8 * before // 6) : bits // 6]


@functools.lru_cache(maxsize=4)
def _known_forms(secrets: tuple[str, ...]) -> tuple[str, ...]:
    # The longest first: a secret may be a part of another, whose rest would stay readable. One look for each
    # in a text is faster than one regular expression of all.
    return tuple(sorted({form for secret in secrets for form in forms(secret)}, key=len, reverse=True))


def could_be_secret(value: str) -> bool:
    """Whether it is no path, nor a word such as ``disabled`` that stands in many files."""
    return len(value) >= MIN_VALUE and not value.startswith("/") and not (value.isalpha() and len(value) < 16)
