"""Asks rattler which conda packages fit together. A program of its own, for a sandbox, with rattler beside
it.

    python solver.py QUESTION

The question is a JSON file with ``channels`` (name and address of each), ``specs``, ``platform``, ``virtual``
(versions of virtual packages by name) and ``locked`` (specs of what is preferred). Standard output gets the
answer, a JSON list of packages.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any, NoReturn, TextIO

sys.path.insert(0, str(Path(__file__).parent))  # which Python leaves out with -I

import rattler


async def _solve(question: dict[str, Any]) -> list[dict[str, Any]]:
    channels = [rattler.Channel(url) for _, url in question["channels"]]
    platforms = [rattler.Subdir(question["platform"]), rattler.Subdir("noarch")]
    gateway = rattler.Gateway(cache_dir=Path("/job/cache"))
    locked: list[rattler.RepoDataRecord] = []
    if question["locked"]:
        batches = await gateway.query(channels, platforms, question["locked"], recursive=False)
        locked = [record for records in batches for record in records]
    virtual = [
        rattler.GenericVirtualPackage(
            rattler.PackageName(name), rattler.Version(version), rattler.BuildString("0")
        )
        for name, version in question["virtual"].items()
    ]
    records = await rattler.solve(
        channels,
        question["specs"],
        gateway=gateway,
        platforms=platforms,
        locked_packages=locked,
        virtual_packages=virtual,
        channel_priority=rattler.ChannelPriority.Strict,
    )
    return [_row(record, question["channels"]) for record in records]


def _row(record: rattler.RepoDataRecord, channels: list[tuple[str, str]]) -> dict[str, Any]:
    name, url = next(((n, u) for n, u in channels if record.url.startswith(u.rstrip("/") + "/")), ("", ""))
    if not url:
        raise ValueError(f"{record.name.normalized} is elsewhere: {record.url}")
    return {
        "name": record.name.normalized,
        "version": str(record.version),
        "build": str(record.build),
        "channel": name,
        "file": record.url[len(url.rstrip("/")) + 1 :],
        "bytes": record.size or 0,
        "sha256": record.sha256.hex() if record.sha256 else "",
    }


def main(question: str) -> None:
    """Solve, or say on standard error why that is impossible."""
    try:
        records = asyncio.run(_solve(json.loads(Path(question).read_text())))
    except Exception as error:  # whatever rattler raises is for the caller to read
        _end(sys.stderr, f"{type(error).__name__}: {error}\n", 1)
    _end(sys.stdout, json.dumps(records), 0)


def _end(stream: TextIO, text: str, status: int) -> NoReturn:
    """At once: threads of rattler may still end, and Python would abort on that."""
    stream.write(text)
    stream.flush()
    os._exit(status)


if __name__ == "__main__":
    main(*sys.argv[1:])
