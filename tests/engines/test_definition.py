"""The rendered definition file builds by itself, and its image passes the same tests."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from imagefactory.definitions.recipes import load_images
from imagefactory.system.processes import Stop
from imagefactory.system.workspace import Workspace
from imagefactory.targets.sif.cluster import CONTAINED
from imagefactory.targets.sif.subject import SifSubject
from imagefactory.testing.smoke import smoke_test
from imagefactory.testing.subject import Mount
from tests.engines.bench import Bench
from tests.engines.cluster import apptainer, build_definition
from tests.upstreams.repository import make_repository
from tests.upstreams.server import Upstream

PROGRAM = '#include <stdio.h>\nint main(void) { puts("compiled here"); return 0; }\n'


def build_by_itself(bench: Bench, image: str, base: list[str], tmp_path: Path) -> Path:
    """Lock, render, and build as anybody would."""
    bench.run("lock", image)
    bench.run("render", image, "--to", str(tmp_path / "rendered"))
    return build_definition(tmp_path / "rendered" / image, image, tmp_path / "built.sif", base)


def smoke_tests(bench: Bench, image: str, sif: Path, tmp_path: Path) -> list[tuple[str, str]]:
    """The recipe's own tests on that file, as the factory runs them on its own."""
    (definition,) = load_images(Workspace(bench.root), [image])
    subject = SifSubject(sif, tuple(definition.environment), tmp_path, Stop(), nvidia=False)
    mounts = (Mount(bench.folder(image) / "tests", "/tests"),)
    found: list[tuple[str, str]] = []
    for test in definition.tests:
        for way in (subject, subject.given(CONTAINED)):
            report, _ = smoke_test(way, test, mounts)
            found.append((report.status, report.reason))
    return found


@contextlib.contextmanager
def upstream(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """An archive and a repository, as a recipe names them."""
    commit = make_repository(tmp_path / "served" / "answer.git", {"answer.c": PROGRAM})
    (tmp_path / "served" / "data 1.txt").write_text("from upstream\n")
    with Upstream(tmp_path / "served") as server:
        yield {
            "data": {
                "url": f"{server.url}/data%201.txt",
                "sha256": hashlib.sha256(b"from upstream\n").hexdigest(),
            },
            "answer": {"git": f"{server.url}/answer.git", "commit": commit},
        }


def test_a_definition_file_builds_by_itself(bench: Bench, base_as_file: list[str], tmp_path: Path) -> None:
    """With packages, an archive and a commit, a stage that compiles, values that look like commands."""
    install = """
    [ "$DATA_OF" = /opt/answer ] && mkdir -p "$DATA_OF/bin"
    [ "$ODD" = "a 'b' \\"c\\" \\$(id) {{ BASE }} %post" ]
    cc -o /opt/answer/bin/answer /sources/answer/answer.c
    cat "/sources/data/data 1.txt" >/opt/answer/data
    ln -s answer /opt/answer/bin/reply
    """
    with upstream(tmp_path) as sources:
        image = bench.recipe(
            "definition",
            install,
            title="A {{ BASE }} test",
            summary='%post it\'s "quoted" $(id) `id`',
            inputs={"apt": ["hello"]},
            build={"inputs": {"apt": ["gcc", "libc6-dev"], "sources": sources}, "keep": ["/opt/answer"]},
            environment={"ODD": "a 'b' \"c\" $(id) {{ BASE }} %post", "DATA_OF": "/opt/answer"},
            path=["/opt/answer/bin"],
            commands=["answer", "reply", "hello"],
            tests=[
                {"name": "compiled", "command": ["answer"], "output": ["^compiled here$"]},
                {"name": "linked", "command": ["reply"], "output": ["^compiled here$"]},
                {"name": "packaged", "command": ["hello"], "output": ["^Hello, world!$"]},
                {"name": "data", "command": ["cat", "/opt/answer/data"], "output": ["^from upstream$"]},
                {
                    "name": "odd",
                    "command": ["sh", "-c", 'echo "$ODD"'],
                    "output": [r"^a 'b' \"c\" \$\(id\) \{\{"],
                },
                {
                    "name": "clean",
                    "command": ["sh", "-c", "ls / | grep -E 'inputs|recipe|steps|tar$'; command -v cc; :"],
                },
            ],
        )
        sif = build_by_itself(bench, image, base_as_file, tmp_path)
    found = smoke_tests(bench, image, sif, tmp_path)
    assert [reason for status, reason in found if status != "passed"] == []
    assert (
        apptainer(
            "exec", "--no-privs", str(sif), "sh", "-c", "ls -d /inputs /recipe /*.tar; command -v cc; :"
        )
        == ""
    )
    told = apptainer("inspect", "--labels", str(sif))
    assert "org.opencontainers.image.title: A {{ BASE }} test" in told
    assert """org.opencontainers.image.description: %post it's "quoted" $(id) `id`""" in told
    assert apptainer("run", "--no-privs", "--app", "reply", str(sif)) == "compiled here\n"
    assert "Commands: answer reply hello" in apptainer("run-help", str(sif))


def test_a_single_stage_builds_by_itself(bench: Bench, base_as_file: list[str], tmp_path: Path) -> None:
    """What it does in its working folder leaves nothing on the machine that builds it."""
    image = bench.recipe(
        "single",
        "echo scratch >scratch\necho $GREETING >/usr/share/greeting",
        environment={"GREETING": "hi"},
        tests=[{"name": "greets", "command": ["cat", "/usr/share/greeting"], "output": ["^hi$"]}],
    )
    before = set(Path("/tmp").iterdir())
    sif = build_by_itself(bench, image, base_as_file, tmp_path)
    assert {status for status, _ in smoke_tests(bench, image, sif, tmp_path)} == {"passed"}
    left = {path.name for path in set(Path("/tmp").iterdir()) - before}
    assert not any(name.startswith(("scratch", "home-", "build-temp")) for name in left)
