"""Completion in a real shell, by name, by path, and through an alias."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest

from tests.engines.bench import COMMAND, REPOSITORY

ASK = """
{before}
source <({command} completion bash)
COMP_WORDS=({typed}) COMP_CWORD={last} COMP_LINE={line} COMP_POINT={point}
complete -p {word} >/dev/null || exit 7
$(complete -p {word} | sed 's/.*-F \\([^ ]*\\).*/\\1/') {word}
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def completed(word: str, *typed: str, before: str = "", folder: Path = REPOSITORY) -> list[str]:
    """What bash offers for the last of the words that were typed."""
    line = " ".join((word, *typed))
    script = ASK.format(
        before=before,
        command=shlex.quote(COMMAND),
        # Bash looks for a specification by the whole word, then by what follows its last slash.
        word=shlex.quote(word.rpartition("/")[2]),
        typed=" ".join(map(shlex.quote, (word, *typed))),
        last=len(typed),
        line=shlex.quote(line),
        point=len(line),
    )
    words = ["bash", "--norc", "-c", script]
    done = subprocess.run(words, capture_output=True, text=True, cwd=folder, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize(
    ("word", "before"),
    [
        ("imagefactory", "PATH=/usr/bin:/bin"),  # where it is not on PATH
        (".venv/bin/imagefactory", ""),
        ("factory", "alias factory=.venv/bin/imagefactory"),
    ],
)
def test_it_completes_whatever_it_is_called(word: str, before: str) -> None:
    assert completed(word, "pl", before=before) == ["plan"]
    assert "eso-vlt-muse" in completed(word, "plan", "eso-vlt-m", before=before)


def test_it_completes_what_is_in_another_checkout(tmp_path: Path) -> None:
    words = ("--root", str(REPOSITORY), "plan", "sph")
    assert completed("imagefactory", *words, folder=tmp_path) == ["spherls"]
    assert completed("imagefactory", "plan", "sph", folder=tmp_path) == []
