"""Commands that download: what, and to where."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from imagefactory.importing.commands.options import TO_FILE, options
from imagefactory.importing.fits import file_of

_CURL_TAKES = frozenset(
    (
        *(
            "-o",
            "-H",
            "-A",
            "-e",
            "-u",
            "-d",
            "-m",
            "-x",
            "-b",
            "-c",
            "-C",
            "-X",
            "-w",
            "-r",
            "-K",
            "-F",
            "-T",
        ),
        *("--output", "--url", "--retry", "--retry-delay", "--retry-max-time", "--max-time", "--header"),
        *("--connect-timeout", "--user-agent", "--referer", "--user", "--data", "--request", "--proxy"),
        *("--cookie", "--cookie-jar", "--continue-at", "--write-out", "--range", "--cacert", "--max-redirs"),
        *("--speed-limit", "--speed-time", "--output-dir", "--limit-rate"),
    )
)
_WGET_TAKES = frozenset(
    (
        *("-O", "-P", "-t", "-T", "-U", "-w", "-a", "-o", "-e", "-D", "-A", "-R", "-l", "-Q", "-i"),
        *("--output-document", "--directory-prefix", "--tries", "--timeout", "--user-agent", "--header"),
        *("--wait", "--waitretry", "--progress", "--user", "--input-file"),
    )
)
_MANY = ("-i", "--input-file", "-r", "--recursive", "-m", "--mirror")
_CLONE_TAKES = frozenset(
    (
        "-b",
        "--branch",
        "--depth",
        "-c",
        "--config",
        "-o",
        "--origin",
        "-j",
        "--jobs",
        "--filter",
        "--reference",
    )
)


@dataclass(frozen=True, slots=True)
class Fetch:
    """A download: its address, and the file that it is written to; none is standard output."""

    url: str
    target: str = ""


@dataclass(frozen=True, slots=True)
class Clone:
    """A copy of a repository: its address, the folder, the branch or tag, and whether with submodules."""

    url: str
    target: str
    ref: str = ""
    submodules: bool = False


def fetches(words: Sequence[str]) -> list[Fetch] | None:
    """What a command downloads; None where it is none of those that do, or more than that."""
    name = words[0].rpartition("/")[2]
    if name == "curl":
        return _curl(words[1:])
    if name == "wget":
        return _wget(words[1:])
    return None


def _curl(words: Sequence[str]) -> list[Fetch] | None:
    urls, outputs, redirect, named = list[str](), list[str](), "", False
    for key, value in options(words, _CURL_TAKES):
        if key in ("", "--url"):
            urls.append(value)
        elif key in ("-o", "--output"):
            outputs.append(value)
        elif key in ("-O", "--remote-name", "--remote-name-all"):
            named = True
        elif key == TO_FILE:
            redirect = value
    if not urls or not all("://" in url or "$" in url for url in urls):
        return None
    if len(outputs) == len(urls):
        return [Fetch(url, "" if out == "-" else out) for url, out in zip(urls, outputs, strict=True)]
    if redirect and len(urls) == 1:
        return [Fetch(urls[0], redirect)]
    return [Fetch(url, file_of(url) or "index.html") if named else Fetch(url) for url in urls]


def _wget(words: Sequence[str]) -> list[Fetch] | None:
    urls, output, folder = list[str](), None, ""
    for key, value in options(words, _WGET_TAKES):
        if key in _MANY:
            return None
        if key == "":
            urls.append(value)
        elif key in ("-P", "--directory-prefix"):
            folder = value
        elif key in ("-O", "--output-document") or (key == TO_FILE and output == "-"):
            output = value
    if not urls or (output is not None and len(urls) > 1):
        return None
    if output is not None:
        return [Fetch(urls[0], "" if output == "-" else output)]
    prefix = f"{folder.rstrip('/')}/" if folder else ""
    return [Fetch(url, f"{prefix}{file_of(url) or 'index.html'}") for url in urls]


def clone_of(words: Sequence[str]) -> Clone | None:
    """The repository that a command clones; None where it is another command."""
    if words[0].rpartition("/")[2] != "git" or "clone" not in words[1:]:
        return None
    given, ref, submodules = list[str](), "", False
    for key, value in options(words[words.index("clone") + 1 :], _CLONE_TAKES):
        if key == "":
            given.append(value)
        elif key in ("-b", "--branch"):
            ref = value
        elif key in ("--recursive", "--recurse-submodules"):
            submodules = True
    if not given:
        return None
    url = re.sub(r"^(ssh://)?git@([^:/]+)[:/]", r"https://\2/", given[0]).rstrip("/")
    url = re.sub(r"^git://", "https://", url)
    url = url if url.endswith(".git") else f"{url}.git"
    target = given[1] if len(given) > 1 else url.rpartition("/")[2].removesuffix(".git")
    return Clone(url, target, ref, submodules)
