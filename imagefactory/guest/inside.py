"""Reads an ext4 file system of a disk, in a sandbox, with e2fsprogs: many questions to one program.

    python -I -S inside.py ORDER

ORDER is JSON: ``disk`` is a raw disk's path, ``offset`` the byte where its file system begins, ``do`` one of:

- table: the partition table, as ``sfdisk --json`` writes it;
- tree: a line of JSON for each file: path, inode, mode, uid, gid, size;
- read: the content of each inode in ``inodes``, its length in 8 bytes before it;
- links: where each symbolic link in ``inodes`` leads, in the same way;
- space: what is free, and how much of that holds anything but zeros.

The answer goes to file descriptor 3. It runs with nothing but Python's standard library, where the sandbox
has that.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ANSWER = 3
MOST_FILES = 3_000_000
_ROOT = 2  # the inode of a file system's root
_FOLDER = 0o040000
_ENTRY = re.compile(rb"/(\d+)/(\d+)/(\d+)/(\d+)/([^/\0]*)/(\d*)/\n")  # of debugfs' ls -p: no name has a /
_FAST = re.compile(rb'^Fast link dest: "(.*)"\n\Z', re.MULTILINE | re.DOTALL)
_PIECE = 1 << 20


def main(order: dict[str, Any]) -> None:
    """Answer one order. Ends with a message where that can't be done."""
    place = f"{order['disk']}?offset={order['offset']}"
    with os.fdopen(ANSWER, "wb") as out:
        if order["do"] == "table":
            out.write(_said(["sfdisk", "--json", order["disk"]]))
        elif order["do"] == "tree":
            for entry in _tree(place):
                out.write(json.dumps(entry).encode() + b"\n")
        elif order["do"] == "space":
            out.write(json.dumps(_space(place, order["disk"], order["offset"])).encode())
        else:
            get = _contents if order["do"] == "read" else _links
            for data in get(place, order["inodes"]):
                out.write(len(data).to_bytes(8, "big"))
                out.write(data)


def _said(words: list[str]) -> bytes:
    done = subprocess.run(words, capture_output=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        sys.exit(f"{words[0]}: {done.stderr.decode(errors='replace').strip()[-500:]}")
    return done.stdout


def _asked(place: str, commands: list[str]) -> list[bytes]:
    """What debugfs says to each of its commands, in one run of it."""
    Path("commands").write_text("".join(f"{each}\n" for each in commands))
    said, answers, at = _said(["debugfs", "-f", "commands", place]), [], 0
    heads = [f"debugfs: {each}\n".encode() for each in commands]
    for number, head in enumerate(heads):
        if not said.startswith(head, at):
            sys.exit("debugfs does not say what it was asked for: the file system is damaged")
        at += len(head)
        if number + 1 == len(heads):
            end = len(said)
        else:
            end = (
                _end_of_folder(said, at)
                if commands[number].startswith("ls")
                else said.find(heads[number + 1], at)
            )
        answers.append(said[at:end])
        at = end
    return answers


def _end_of_folder(said: bytes, at: int) -> int:
    """Where a list of files ends: a name in it may look like what comes after."""
    while match := _ENTRY.match(said, at):
        at = match.end()
    return at + 1 if said[at : at + 1] == b"\n" else at


def _tree(place: str) -> Iterator[tuple[str, int, int, int, int, int]]:
    """All files, folder by folder, one level after the other."""
    count, seen, level = 0, {_ROOT}, [("", _ROOT)]
    while level:
        said = _asked(place, [f"ls -p <{inode}>" for _, inode in level])
        below = []
        for (folder, _), listed in zip(level, said, strict=True):
            at = 0
            while match := _ENTRY.match(listed, at):
                at = match.end()
                inode, mode, uid, gid = int(match[1]), int(match[2], 8), int(match[3]), int(match[4])
                if not inode or match[5] in (b".", b".."):  # one without an inode is room for another
                    continue
                count += 1
                if count > MOST_FILES:
                    sys.exit(f"there are more than {MOST_FILES} files")
                path = f"{folder}/{os.fsdecode(match[5])}"
                yield path, inode, mode, uid, gid, int(match[6] or 0)
                if mode & 0o170000 == _FOLDER:
                    if inode in seen:
                        sys.exit("a folder is in two places: the file system is damaged")
                    seen.add(inode)
                    below.append((path, inode))
            if listed[at:] != b"\n":
                sys.exit(f"debugfs can't list {folder or '/'!a}: the file system is damaged")
        level = below


def _contents(place: str, inodes: list[int]) -> Iterator[bytes]:
    """What dump writes, for cat would not tell where one ends and the next begins."""
    _asked(place, [f"dump <{inode}> content{number}" for number, inode in enumerate(inodes)])
    for number in range(len(inodes)):
        file = Path(f"content{number}")
        if not file.exists():
            sys.exit(f"debugfs can't read inode {inodes[number]}: the file system is damaged")
        yield file.read_bytes()
        file.unlink()


def _links(place: str, inodes: list[int]) -> Iterator[bytes]:
    """Short ones are in the inode itself, longer ones in a block, like a file's content."""
    for inode in inodes:
        found = _FAST.search(_asked(place, [f"stat <{inode}>"])[0])
        yield found[1] if found else next(_contents(place, [inode]))


def _space(place: str, disk: str, offset: int) -> dict[str, Any]:
    said = _said(["dumpe2fs", place]).decode(errors="replace")
    about = dict(re.findall(r"^([A-Z][\w ]+): +(.*)$", said, re.MULTILINE))
    block = int(about["Block size"])
    free = dirty = 0
    with Path(disk).open("rb", buffering=0) as file:
        for ranges in re.findall(r"^  Free blocks: (.*)$", said, re.MULTILINE):
            for first, last in re.findall(r"(\d+)(?:-(\d+))?", ranges):
                begin, end = int(first), int(last or first) + 1
                free += end - begin
                dirty += sum(_dirty(file.fileno(), offset + begin * block, offset + end * block, block))
    return {
        "block": block,
        "blocks": int(about["Block count"]),
        "free": free,
        "dirty": dirty,
        "state": about["Filesystem state"],
        "features": about["Filesystem features"].split(),
    }


def _dirty(file: int, begin: int, end: int, block: int) -> Iterator[int]:
    """How many blocks between two places are not all zeros; holes are."""
    nothing = bytes(_PIECE)
    while begin < end:
        try:
            at = os.lseek(file, begin, os.SEEK_DATA)
        except OSError:  # there is nothing but a hole
            return
        begin += (at - begin) // block * block
        data = os.pread(file, max(0, min(_PIECE, end - begin)), begin)
        if not data:
            return
        if data != nothing[: len(data)]:
            pieces = (data[place : place + block] for place in range(0, len(data), block))
            yield sum(piece != nothing[: len(piece)] for piece in pieces)
        begin += len(data)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
