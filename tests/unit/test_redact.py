"""Secrets are hidden in whatever form they stand, and nothing else is."""

from __future__ import annotations

import base64
import json
import math
import shlex
import time
import urllib.parse

import pytest

from imagefactory.system.redact import (
    MIN_SECRET,
    keep_address,
    keep_secret,
    keep_variables,
    known_secrets,
    redact,
    redacted,
)

SECRET = "pä$$ w/rd'\"&+?\\~1"


def escaped(quoted: str) -> str:
    """The same with the other case of hexadecimal digits."""
    return "".join(c.lower() if quoted[max(i - 2, 0) : i].count("%") else c for i, c in enumerate(quoted))


@pytest.mark.parametrize(
    "form",
    [
        SECRET,
        urllib.parse.quote(SECRET),
        urllib.parse.quote(SECRET, safe=""),
        escaped(urllib.parse.quote(SECRET, safe="")),
        urllib.parse.quote_plus(SECRET),
        escaped(urllib.parse.quote_plus(SECRET)),
        json.dumps(SECRET)[1:-1],
        json.dumps(SECRET, ensure_ascii=False)[1:-1],
        shlex.quote(SECRET),
        base64.b64encode(SECRET.encode()).decode(),
        base64.urlsafe_b64encode(SECRET.encode()).decode(),
        base64.urlsafe_b64encode(SECRET.encode()).decode().rstrip("="),
    ],
)
def test_every_form_is_hidden(form: str) -> None:
    keep_secret(SECRET)
    assert redact(f"before {form} after") == "before *** after"


@pytest.mark.parametrize("user", ["me", "you", "them", "nobody"])
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_a_login_in_a_header_is_hidden(user: str, encode: object) -> None:
    """At all three alignments; what stays tells of what is beside it, and less than a byte at each end."""
    keep_secret(SECRET)
    assert callable(encode)
    header = encode(f"{user}:{SECRET}:more".encode()).decode()
    left = redact(header).rstrip("=").split("***")
    assert len(left) == 2
    for rest, beside in zip(left, (f"{user}:", ":more"), strict=True):
        assert len(rest) <= math.ceil(len(beside) * 8 / 6) + 1


def test_a_short_word_is_no_secret() -> None:
    keep_secret("a" * (MIN_SECRET - 1))
    keep_address("http://me:a@proxy.example.org")
    assert known_secrets() == {}
    assert redact("a banana") == "a banana"


@pytest.mark.parametrize(
    ("address", "secrets"),
    [
        ("https://me:hunter2@example.org", {"hunter2"}),
        ("https://me:hunter%402@example.org", {"hunter%402", "hunter@2"}),
        ("https://me:hunter@2@example.org", {"hunter@2"}),
        ("https://0123456789abcdef@example.org/simple", {"0123456789abcdef"}),
        ("https://glpat-abcdefgh@example.org", {"glpat-abcdefgh"}),
        ("https://a-token-of-mine:x-oauth-basic@example.org", {"a-token-of-mine"}),
        ("https://__token__:hunter2@example.org", {"hunter2"}),
        ("ssh://builder@example.org", set()),
        ("https://example.org/a@b", set()),
        ("someone@example.org", set()),
    ],
)
def test_the_secrets_of_an_address(address: str, secrets: set[str]) -> None:
    keep_address(address)
    assert set(known_secrets()) == secrets


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("see http://bot:p@ss@host/ there", "see http://***@host/ there"),
        ("http://a@b@c@host:80/x@y", "http://***@host:80/x@y"),
        ("http://bot@one/ http://bot:p@two/", "http://***@one/ http://***@two/"),
        ("http://host/a@b", "http://host/a@b"),
    ],
)
def test_who_we_are_in_an_address_ends_at_its_last_at(text: str, shown: str) -> None:
    assert redact(text) == shown


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("OS_PASSWORD", "correct-horse", True),
        ("GITHUB_TOKEN", "ghp_0123456789", True),
        ("AWS_SECRET_ACCESS_KEY", "a/b+c/d+e/f", True),
        ("COSIGN_PASSWORD", "correct-horse", True),
        ("APPTAINER_DOCKER_PASSWORD", "correct-horse", True),
        ("DB_PASS", "correct-horse", True),
        ("SIGNING_KEY", "correct-horse", True),
        ("https_proxy", "http://me:correct-horse@proxy.example.org", True),
        ("TOKEN_FILE", "/run/secrets/token", False),
        ("SSH_ASKPASS", "/usr/bin/askpass", False),
        ("TOKENIZERS_PARALLELISM", "disabled", False),
        ("MAX_TOKENS", "100000", False),
        ("KEYBOARD", "de-latin1-x", False),
        ("EDITOR", "correct-horse", False),
        ("EMAIL", "someone@example.org", False),
    ],
)
def test_the_secrets_of_an_environment(name: str, value: str, kept: bool) -> None:
    keep_variables({name: value})
    assert bool(known_secrets()) is kept


def test_texts_within_values_are_hidden() -> None:
    keep_secret("hunter2")
    value = {"a": ["x hunter2", 2, None], "b": {"c": ("hunter2", True)}}
    assert redacted(value) == {"a": ["x ***", 2, None], "b": {"c": ["***", True]}}


def test_what_becomes_known_later_is_hidden_from_then_on() -> None:
    assert redact("hunter2 correct-horse") == "hunter2 correct-horse"
    keep_secret("hunter2")
    assert redact("hunter2 correct-horse") == "*** correct-horse"
    keep_secret("correct-horse")
    assert redact("hunter2 correct-horse") == "*** ***"


def test_it_costs_little() -> None:
    """A million lines with ten secrets take seconds, not minutes."""
    for number in range(10):
        keep_secret(f"correct-horse-{number}")
    line = "gcc -O2 -c -o build/module.o src/module.c " * 3
    redact(line)
    start = time.perf_counter()
    for _ in range(2000):
        redact(line)
    assert time.perf_counter() - start < 0.4  # 200 microseconds each, on a busy machine
