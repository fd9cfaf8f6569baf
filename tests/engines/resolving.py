"""A bench for upstreams that lie while a resolver asks them, and what every such lie must leave behind."""

from __future__ import annotations

import dataclasses
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from imagefactory.cli.errors import show_error
from imagefactory.errors import BuildFailed, FactoryError
from imagefactory.inputs import index_route
from imagefactory.inputs.protocol import Means
from imagefactory.sandbox import Errand, Limits, run_errand
from imagefactory.system import web, wire
from tests.engines.test_trust import Heard, means_of
from tests.upstreams.server import Upstream

MIB = 1 << 20
SECONDS = 30.0
DISK = 48 * MIB
FULL = "its files would take more than … MiB, or half of the memory"
ELSEWHERE = "@{path} sends us to another server, {other}"
TO_FILE = "@{path} sends us to file:///etc/passwd, and only http and https are followed"


@dataclass
class Bench:
    """An upstream that lies, another server, and what must stay as it is."""

    folder: Path
    up: Upstream
    other: Upstream
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    index: str | None = None
    seconds: float = 20

    def means(self) -> tuple[Means, Heard]:
        settings = {key: value for key, value in self.settings.items() if key != "commit"}
        return means_of(self.folder, self.index, retry_pause=0, **settings)

    @property
    def home(self) -> Path:
        """What the upstream serves."""
        return self.up.folder

    def listing(self) -> list[tuple[str, int, int]]:
        """All that is outside of the store and the scratch folder."""
        ours = (self.folder / "store", self.folder / "scratch")
        found = (p for p in sorted(self.folder.rglob("*")) if not any(map(p.is_relative_to, ours)))
        return [(str(p), p.lstat().st_size, p.lstat().st_mtime_ns) for p in found]


@dataclass(frozen=True)
class Lie:
    """What an upstream does, and what is said then: ``@`` is its address, ``…`` stands for anything.

    ``tail`` is in the last lines of the tool, ``seconds`` the time that an errand has.
    """

    tell: Callable[[Bench], object]
    said: str
    kind: type[FactoryError] = BuildFailed
    hint: str = ""
    tail: str = ""
    seconds: float = 20


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """All bounds are small, and no tool tries again by itself, which would take its time."""
    for name in ("upstream", "other", "outside"):
        (tmp_path / name).mkdir()
    (tmp_path / "outside" / "precious").write_bytes(b"precious")
    monkeypatch.setenv("HOME", str(tmp_path / "outside"))
    monkeypatch.delenv("NETRC", raising=False)
    monkeypatch.setattr(wire, "PACE_SECONDS", 0.3)
    monkeypatch.setattr(web, "DOCUMENT_SECONDS", 0.5)
    monkeypatch.setattr("imagefactory.inputs.index._MAX_PAGE", MIB)
    monkeypatch.setattr(index_route, "_MAX_METADATA", MIB)
    with Upstream(tmp_path / "upstream") as up, Upstream(tmp_path / "other") as other:
        found = Bench(tmp_path, up, other)

        def run(errand: Errand, *words: Any) -> int:
            limits = Limits(seconds=found.seconds, disk=DISK, file=DISK)
            environment = {**errand.environment, "UV_HTTP_RETRIES": "0"}
            return run_errand(dataclasses.replace(errand, environment=environment, limits=limits), *words)

        monkeypatch.setattr("imagefactory.inputs.asking.run_errand", run)
        yield found


def told(bench: Bench, lie: Lie, action: Callable[[Means], object], capsys: Any, path: str = "") -> None:
    """Have ``action`` fail as it should, and look at what is left."""
    lie.tell(bench)
    bench.seconds = lie.seconds
    means, log = bench.means()
    before, began, processes = bench.listing(), time.monotonic(), descendants()
    with pytest.raises(FactoryError) as caught:
        action(means)
    error = caught.value
    said = fill(lie.said, bench, path)
    assert re.fullmatch(re.escape(said).replace("…", ".*"), error.message), error.message
    assert type(error) is lie.kind
    assert error.hint
    assert fill(lie.hint, bench, path) in error.hint
    assert len(error.message) < 900
    tail = "\n".join(getattr(error, "tail", ()))
    assert fill(lie.tail, bench, path) in tail
    show_error(error)
    shown = capsys.readouterr().err
    assert shown.count("error: ") - tail.count("error: ") <= 2
    assert all(line.isprintable() for line in shown.splitlines())
    assert "Traceback" not in shown
    for text in (error.message, error.hint, tail, log.text):
        assert "127.0.0.1:8000" not in text  # which is nobody's but the sandbox's
    assert not list(means.store.files())
    assert not list(means.scratch.iterdir())
    assert bench.listing() == before
    assert time.monotonic() - began < SECONDS
    assert descendants() <= processes


def fill(text: str, bench: Bench, path: str) -> str:
    return text.replace("@", bench.up.url).replace("{other}", bench.other.url).replace("{path}", path)


def descendants() -> set[int]:
    """All processes that this one, or one of those, has started."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def named(table: Mapping[str, Lie]) -> list[Any]:
    return [pytest.param(lie, id=name) for name, lie in table.items()]


def ok(kind: str = "application/octet-stream") -> bytes:
    """The head of an answer that says nothing of its end."""
    return f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n\r\n".encode()


def does(method: str, *words: Any, **more: Any) -> Callable[[Bench], None]:
    """Have the upstream do that; ``{other}`` is the other server."""

    def tell(bench: Bench) -> None:
        filled = [
            word.replace("{other}", bench.other.url) if isinstance(word, str) else word for word in words
        ]
        getattr(bench.up, method)(*filled, **more)

    return tell
