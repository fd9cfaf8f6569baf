"""What is rendered builds by itself, outside the factory."""

from __future__ import annotations

import functools
import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engines.bench import Bench, docker, inspect

PROGRAM = '#include <stdio.h>\nint main(void) { puts("compiled here"); return 0; }\n'
TESTS = [{"name": "runs", "command": ["answer"], "output": ["^compiled here$"]}]


def build_by_itself(bench: Bench, image: str, base: str, tmp_path: Path) -> str:
    """Lock, render, build as anybody would, and return the name of the image."""
    bench.run("lock", image)
    bench.run("render", image, "--to", str(tmp_path / "rendered"))
    name, context = f"imagefactory/{image}-plain:1", str(tmp_path / "rendered" / image)
    words = ["buildx", "build", "--quiet", "--load", "--tag", name, "--build-arg", f"BASE={base}", context]
    docker(*words)
    return name


def test_a_simple_one_builds_by_itself(bench: Bench, base_in_engine: str, tmp_path: Path) -> None:
    image = bench.recipe("plain", inputs={"apt": ["hello"]}, environment={"GREETING": "hi"})
    name = build_by_itself(bench, image, base_in_engine, tmp_path)
    assert docker("run", "--rm", name, "hello") == "Hello, world!\n"
    labels = inspect(name)["Config"]["Labels"]
    assert labels["org.opencontainers.image.base.name"] == base_in_engine
    assert labels["org.opencontainers.image.version"] == "1.0"


@pytest.mark.long
def test_what_compiles_stays_in_its_stage(bench: Bench, base_in_engine: str, tmp_path: Path) -> None:
    image = bench.recipe(
        "stages",
        "mkdir -p /opt/answer/bin\ncc -o /opt/answer/bin/answer /recipe/files/answer.c",
        build={"inputs": {"apt": ["gcc", "libc6-dev"]}, "keep": ["/opt/answer"]},
        path=["/opt/answer/bin"],
        commands=["answer"],
        tests=TESTS,
    )
    (bench.folder(image) / "files").mkdir()
    (bench.folder(image) / "files" / "answer.c").write_text(PROGRAM)
    bench.run("build", image)
    assert bench.report(image)["bytes"] < 80_000_000
    for name in (f"imagefactory/{image}", build_by_itself(bench, image, base_in_engine, tmp_path)):
        assert docker("run", "--rm", name, "answer") == "compiled here\n"
        assert docker("run", "--rm", name, "sh", "-c", "command -v gcc cc; ls /build; :") == ""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """An upstream: its address, and the folder that it serves."""
    folder = tmp_path / "upstream"
    folder.mkdir()
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as upstream:
        threading.Thread(target=upstream.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{upstream.server_port}", folder
        upstream.shutdown()


def test_sources_are_fetched_and_verified(bench: Bench, server: tuple[str, Path]) -> None:
    address, folder = server
    (folder / "data-1.0.txt").write_text("from upstream\n")
    digest = hashlib.sha256(b"from upstream\n").hexdigest()
    source = {"url": f"{address}/data-1.0.txt", "sha256": digest}
    install = "cat /sources/data/data-1.0.txt >/usr/share/data"
    image = bench.recipe("sources", install, inputs={"sources": {"data": source}})
    bench.run("build", image)
    assert docker("run", "--rm", f"imagefactory/{image}", "cat", "/usr/share/data") == "from upstream\n"
    source["sha256"] = hashlib.sha256(b"something else").hexdigest()
    bench.recipe("sources", install, inputs={"sources": {"data": source}})
    ended = bench.run("build", image, status=1)
    expected, found = source["sha256"], f"{digest}, 14 bytes"
    assert ended.errors == [
        f"error: recipes/{image}: source data 1.0: expected sha256 {expected}, found {found}"
    ]
    assert f"{address}/data-1.0.txt holds another file than the one that was pinned" in ended.err
    assert docker("run", "--rm", f"imagefactory/{image}", "cat", "/usr/share/data") == "from upstream\n"
