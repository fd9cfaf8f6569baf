"""Commands that install packages: which ones, and from where."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from imagefactory.importing.commands.options import options

APT = ("apt", "apt-get", "aptitude")
OTHER_SYSTEMS = ("yum", "dnf", "microdnf", "apk", "zypper", "pacman")
CONDA = ("conda", "mamba", "micromamba")
_APT_TAKES = ("-o", "-t", "-c", "--target-release", "--option")
_PIP_TAKES = frozenset(
    (
        *("-i", "--index-url", "--extra-index-url", "-f", "--find-links", "-r", "--requirement", "-e"),
        *("-c", "--constraint", "--editable", "-t", "--target", "--prefix", "--root", "--cache-dir"),
        *("--timeout", "--default-timeout", "--python", "--trusted-host", "--progress-bar", "--src"),
        *("--no-binary", "--only-binary", "--config-settings", "--global-option", "--install-option"),
        *("--platform", "--index-strategy", "--retries", "--log", "--upgrade-strategy", "--use-feature"),
        *("--use-deprecated", "--python-version", "--implementation"),
    )
)
_CONDA_TAKES = frozenset(
    (
        *("-c", "--channel", "-n", "--name", "-p", "--prefix", "-f", "--file", "--solver", "--repodata-fn"),
        *("--cacert", "-r", "--root-prefix", "--subdir", "--platform"),
    )
)


@dataclass(frozen=True, slots=True)
class Installation:
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


def apt_of(words: Sequence[str]) -> Installation | None:
    """What apt is asked for; None where the command is another."""
    if words[0].rpartition("/")[2] not in APT:
        return None
    given = [value for key, value in options(words[1:], _APT_TAKES) if key == ""]
    action, names = (given[0], given[1:]) if given else ("", [])
    files = tuple(name for name in names if name.endswith(".deb") or name.startswith(("./", "/")))
    return Installation(action, tuple(name for name in names if name not in files), files)


def pip_of(words: Sequence[str]) -> AskedOfPip | None:
    """What ``pip install`` is asked for, in any of its forms; None where the command is another."""
    rest = _after_pip(words)
    while rest and rest[0].startswith("-"):
        rest = rest[1:]
    if not rest or rest[0] != "install":
        return None
    asked = AskedOfPip()
    lists = {
        "": asked.packages,
        **dict.fromkeys(("-f", "--find-links"), asked.links),
        **dict.fromkeys(("-r", "--requirement"), asked.requirements),
        **dict.fromkeys(("-c", "--constraint"), asked.constraints),
        **dict.fromkeys(("-e", "--editable"), asked.editable),
    }
    for key, value in options(rest[1:], _PIP_TAKES):
        if key in lists:
            lists[key].append(value)
        elif key in ("-i", "--index-url"):
            asked.index = value
        elif key == "--extra-index-url":
            asked.extra_index = value
        elif key == "--pre":
            asked.before_release = True
    return asked


def does_of_pip(words: Sequence[str]) -> str:
    """What pip is told to do, such as install; nothing where the command is another."""
    return next((word for word in _after_pip(words) if not word.startswith("-")), "")


def _after_pip(words: Sequence[str]) -> list[str]:
    name, rest = words[0].rpartition("/")[2], list(words[1:])
    if re.fullmatch(r"pip(\d+(\.\d+)?)?", name):
        return rest
    if re.fullmatch(r"(python|fslpython|pypy)(\d+(\.\d+)?)?", name):
        while rest and rest[0] in ("-I", "-E", "-s", "-u", "-B"):
            rest = rest[1:]
        return rest[2:] if rest[:2] == ["-m", "pip"] else []
    return rest[1:] if name == "uv" and rest[:1] == ["pip"] else []


def conda_of(words: Sequence[str]) -> AskedOfConda | None:
    """What conda, mamba or micromamba is asked for; None where the command is another."""
    if words[0].rpartition("/")[2] not in CONDA or len(words) < 2:
        return None
    action, rest = words[1], list(words[2:])
    if action == "env" and rest:
        action = f"env {rest.pop(0)}"
    asked = AskedOfConda(action)
    if action in ("config", "init", "activate", "clean"):
        asked.rest = rest
    elif action == "run":
        while rest and rest[0].startswith("-"):
            taken = 2 if rest[0] in _CONDA_TAKES else 1
            rest = rest[taken:]
        asked.rest = rest
    else:
        for key, value in options(rest, _CONDA_TAKES):
            if key == "":
                asked.packages.append(value)
            elif key in ("-c", "--channel"):
                asked.channels.append(value)
            elif key in ("-n", "--name", "-p", "--prefix"):
                asked.environment = value
            elif key in ("-f", "--file"):
                asked.files.append(value)
    return asked
