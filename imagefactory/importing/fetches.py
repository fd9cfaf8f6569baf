"""Commands that download: what, and to where."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from imagefactory.importing.fits import file_of

_CURL_TAKES = {"-H", "-A", "-e", "-u", "-d", "-m", "-x", "-b", "-c", "-C", "-X", "-w", "-r", "-K", "-F", "-T"}
_CURL_LONG = {
    *("--retry", "--retry-delay", "--retry-max-time", "--max-time", "--connect-timeout", "--header"),
    *("--user-agent", "--referer", "--user", "--data", "--request", "--proxy", "--cookie", "--cookie-jar"),
    *("--continue-at", "--write-out", "--range", "--cacert", "--speed-limit", "--speed-time", "--max-redirs"),
}
_WGET_TAKES = {"-t", "-T", "-U", "-w", "-a", "-o", "-e", "-D", "-A", "-R", "-l", "-Q"}
_WGET_LONG = {
    "--tries",
    "--timeout",
    "--user-agent",
    "--header",
    "--wait",
    "--waitretry",
    "--progress",
    "--user",
}


@dataclass(frozen=True, slots=True)
class Fetch:
    """A download: its address, and the file that it is written to; none is standard output."""

    url: str
    target: str = ""


@dataclass(frozen=True, slots=True)
class Clone:
    """A copy of a repository: its address, the folder, the branch or tag, and whether submodules come along."""

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
    urls, outputs, redirect = list[str](), list[str](), ""
    named = False
    todo = list(words)
    while todo:
        word = todo.pop(0)
        key, _, value = word.partition("=")
        if word.startswith(">"):
            redirect = word.lstrip(">") or (todo.pop(0) if todo else "")
        elif key in ("-o", "--output"):
            outputs.append(value or (todo.pop(0) if todo else ""))
        elif key in ("--remote-name", "--remote-header-name", "--remote-name-all"):
            named = True
        elif key in _CURL_LONG or word in _CURL_TAKES:
            todo[:1] = [] if not value else todo[:1]
        elif key == "--url":
            urls.append(value or (todo.pop(0) if todo else ""))
        elif re.fullmatch(r"-[A-Za-z0-9#]+", word):
            letters = word[1:]
            named |= "O" in letters
            if "o" in letters:
                rest = letters[letters.index("o") + 1 :]
                outputs.append(rest or (todo.pop(0) if todo else ""))
            elif f"-{letters[-1]}" in _CURL_TAKES:
                todo[:1] = []
        elif not word.startswith("-"):
            urls.append(word)
    if not urls or not all("://" in url or "$" in url for url in urls):
        return None
    if len(outputs) == len(urls):
        return [Fetch(url, "" if out == "-" else out) for url, out in zip(urls, outputs, strict=True)]
    if redirect and len(urls) == 1:
        return [Fetch(urls[0], redirect)]
    return [Fetch(url, file_of(url) or "index.html") if named else Fetch(url) for url in urls]


def _wget(words: Sequence[str]) -> list[Fetch] | None:
    urls, output, folder = list[str](), "", ""
    to_output = False
    todo = list(words)
    while todo:
        word = todo.pop(0)
        key, _, value = word.partition("=")
        if word.startswith(">"):
            output = output if output not in ("", "-") else word.lstrip(">") or (todo.pop(0) if todo else "")
            to_output = True
        elif key in ("-O", "--output-document"):
            output, to_output = value or (todo.pop(0) if todo else ""), True
        elif key in ("-P", "--directory-prefix"):
            folder = value or (todo.pop(0) if todo else "")
        elif key in ("-i", "--input-file", "-r", "--recursive", "-m", "--mirror"):
            return None
        elif key in _WGET_LONG or word in _WGET_TAKES:
            todo[:1] = [] if not value else todo[:1]
        elif (short := re.fullmatch(r"-[A-Za-z]*?([OP])(.*)", word)) and not word.startswith("--"):
            given = short[2] or (todo.pop(0) if todo else "")
            output, to_output = (given, True) if short[1] == "O" else (output, to_output)
            folder = given if short[1] == "P" else folder
        elif not word.startswith("-"):
            urls.append(word)
    if not urls or (to_output and len(urls) > 1):
        return None
    if to_output:
        return [Fetch(urls[0], "" if output == "-" else output)]
    prefix = f"{folder.rstrip('/')}/" if folder else ""
    return [Fetch(url, f"{prefix}{file_of(url) or 'index.html'}") for url in urls]


def clone_of(words: Sequence[str]) -> Clone | None:
    """The repository that a command clones; None where it is another command."""
    if words[0].rpartition("/")[2] != "git" or "clone" not in words[1:]:
        return None
    todo = list(words[words.index("clone") + 1 :])
    given, ref, submodules = list[str](), "", False
    while todo:
        word = todo.pop(0)
        key, _, value = word.partition("=")
        if key in ("-b", "--branch"):
            ref = value or (todo.pop(0) if todo else "")
        elif key in (
            "--depth",
            "-c",
            "--config",
            "-o",
            "--origin",
            "-j",
            "--jobs",
            "--filter",
            "--reference",
        ):
            todo[:1] = [] if not value else todo[:1]
        elif key in ("--recursive", "--recurse-submodules"):
            submodules = True
        elif not word.startswith("-") and not word.startswith((">", "2>")):
            given.append(word)
    if not given:
        return None
    url = re.sub(r"^(ssh://)?git@([^:/]+)[:/]", r"https://\2/", given[0]).rstrip("/")
    url = re.sub(r"^git://", "https://", url)
    url = url if url.endswith(".git") else f"{url}.git"
    target = given[1] if len(given) > 1 else url.rpartition("/")[2].removesuffix(".git")
    return Clone(url, target, ref, submodules)
