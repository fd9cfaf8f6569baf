"""Commands that install packages: which ones, and from where."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

APT = ("apt", "apt-get", "aptitude")
OTHER_SYSTEMS = ("yum", "dnf", "microdnf", "apk", "zypper", "pacman")
CONDA = ("conda", "mamba", "micromamba")
_APT_TAKES = ("-o", "-t", "-c", "--target-release", "--option")
_PIP_TAKES = {
    *("-t", "--target", "--prefix", "--root", "--cache-dir", "--timeout", "--default-timeout", "--python"),
    *("--trusted-host", "--progress-bar", "--src", "--no-binary", "--only-binary", "--config-settings"),
    *("--global-option", "--install-option", "--platform", "--index-strategy", "--retries", "--log"),
    *("--upgrade-strategy", "--use-feature", "--use-deprecated", "--python-version", "--implementation"),
}
_CONDA_TAKES = ("--solver", "--repodata-fn", "--cacert", "-r", "--root-prefix", "--subdir", "--platform")


@dataclass(frozen=True, slots=True)
class Asked:
    """What a command asks a package manager for: ``action`` is install, or a word for what it does else."""

    action: str
    names: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


@dataclass(slots=True)
class AskedOfPip:
    """Packages, files of requirements and of constraints, and indexes (``only`` or besides the usual one)."""

    packages: list[str] = field(default_factory=list)
    requirements: list[str] = field(default_factory=list)
    constraints: list[str] = field(default_factory=list)
    index: str = ""
    extra_index: str = ""
    links: list[str] = field(default_factory=list)
    editable: list[str] = field(default_factory=list)
    before_release: bool = False


@dataclass(slots=True)
class AskedOfConda:
    """``action`` is install, create, config, run or another; ``rest`` what it was given else."""

    action: str
    packages: list[str] = field(default_factory=list)
    channels: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    environment: str = ""
    rest: list[str] = field(default_factory=list)


def apt_of(words: Sequence[str]) -> Asked | None:
    """What apt is asked for; None where the command is another."""
    if words[0].rpartition("/")[2] not in APT:
        return None
    given, skip = list[str](), False
    for word in words[1:]:
        if skip or word.startswith((">", "2>", "-")):
            skip = word in _APT_TAKES and not skip
            continue
        given.append(word)
    action, names = (given[0], given[1:]) if given else ("", [])
    files = tuple(name for name in names if name.endswith(".deb") or name.startswith(("./", "/")))
    return Asked(action, tuple(name for name in names if name not in files), files)


def pip_of(words: Sequence[str]) -> AskedOfPip | None:
    """What ``pip install`` is asked for, in any of its forms; None where the command is another."""
    rest = _after_pip(words)
    if rest is None:
        return None
    while rest and rest[0].startswith("-"):
        rest = rest[1:]
    if not rest or rest[0] != "install":
        return None
    asked, todo = AskedOfPip(), list(rest[1:])
    while todo:
        word = todo.pop(0)
        key, _, value = word.partition("=")

        def given(value: str = value) -> str:
            return value or (todo.pop(0) if todo else "")

        if key in ("-i", "--index-url"):
            asked.index = given()
        elif key == "--extra-index-url":
            asked.extra_index = given()
        elif key in ("-f", "--find-links"):
            asked.links.append(given())
        elif key in ("-r", "--requirement"):
            asked.requirements.append(given())
        elif key in ("-c", "--constraint"):
            asked.constraints.append(given())
        elif key in ("-e", "--editable"):
            asked.editable.append(given())
        elif key in _PIP_TAKES:
            given()
        elif key == "--pre":
            asked.before_release = True
        elif word.startswith((">", "2>")) and re.fullmatch(r"2?>+(&\d)?|2?>+\S+", word):
            todo[:1] = [] if word in (">", ">>", "2>") else todo[:1]
        elif not word.startswith("-"):
            asked.packages.append(word)
    return asked


def _after_pip(words: Sequence[str]) -> list[str] | None:
    name, rest = words[0].rpartition("/")[2], list(words[1:])
    if re.fullmatch(r"pip(\d+(\.\d+)?)?", name):
        return rest
    if re.fullmatch(r"(python|fslpython|pypy)(\d+(\.\d+)?)?", name):
        while rest and rest[0] in ("-I", "-E", "-s", "-u", "-B"):
            rest = rest[1:]
        return rest[2:] if rest[:2] == ["-m", "pip"] else None
    return rest[1:] if name == "uv" and rest[:1] == ["pip"] else None


def conda_of(words: Sequence[str]) -> AskedOfConda | None:
    """What conda, mamba or micromamba is asked for; None where the command is another."""
    if words[0].rpartition("/")[2] not in CONDA or len(words) < 2:
        return None
    todo = list(words[1:])
    action = todo.pop(0)
    if action == "env" and todo:
        action = f"env {todo.pop(0)}"
    asked = AskedOfConda(action)
    if action in ("config", "init", "activate", "clean"):
        asked.rest = todo
        return asked
    while todo:
        word = todo.pop(0)
        key, _, value = word.partition("=")
        if key in ("-c", "--channel"):
            asked.channels.append(value or (todo.pop(0) if todo else ""))
        elif key in ("-n", "--name", "-p", "--prefix"):
            asked.environment = value or (todo.pop(0) if todo else "")
        elif key in ("-f", "--file"):
            asked.files.append(value or (todo.pop(0) if todo else ""))
        elif key in _CONDA_TAKES:
            todo[:1] = [] if not value else todo[:1]
        elif word.startswith((">", "2>", "-")):
            if action == "run" and word in ("--no-capture-output", "--live-stream", "-v"):
                continue
        elif action == "run":
            asked.rest = [word, *todo]
            break
        else:
            asked.packages.append(word)
    return asked
