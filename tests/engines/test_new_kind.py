"""A kind of target from outside goes the way of all others, and no code of ours knows of it."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from imagefactory.cli import main
from imagefactory.targets import register
from tests.engines.bench import Bench
from tests.engines.tar_kind import LINE

Call = Callable[..., str]


@pytest.fixture
def call(bench: Bench, capsys: pytest.CaptureFixture[str]) -> Iterator[Call]:
    """The command line in this process, whose register has one more kind."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    register.add(LINE)

    def run(*words: str) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main(["--root", str(bench.root), *words])
        written = capsys.readouterr()
        assert not end.value.code, written.err
        return written.out

    yield run
    register.remove("tar")
    for number, handler in handlers.items():
        signal.signal(number, handler)


def told(text: str) -> dict[str, str]:
    """By kind, what was done or is to be done."""
    return {item["kind"]: item["action"] for item in json.loads(text)}


def test_a_new_kind_is_planned_built_tested_listed_and_swept(bench: Bench, call: Call) -> None:
    tests = [{"name": "reads", "command": ["cat", "/etc/tree"]}]
    image = bench.recipe("tree", "echo here >/etc/tree", tests=tests)
    call("lock", image)
    assert f"{image} (tar): build, it was never made here" in call("plan", image).splitlines()

    assert told(call("build", image, "--format", "tar", "--json")) == {"oci": "build", "tar": "build"}
    report: dict[str, Any] = bench.report(image, "tar")
    assert (report["status"], report["file"]) == ("passed", f"{image}.tar")
    assert [test["name"] for test in report["tests"]] == ["reads", "is-ours"]
    assert report["needs"][0]["digest"] == bench.report(image)["digest"]
    assert (bench.build / image / f"{image}.tar").is_file()
    bench.assert_clean()
    assert told(call("build", image, "--format", "tar", "--json")) == {"tar": "nothing"}

    assert call("list", image).splitlines()[0].split()[3:7] == ["oci", "sif", "vm", "tar"]
    assert {item["kind"] for item in json.loads(call("list", image, "--json"))[0]["targets"]} == {
        *("oci", "sif", "vm", "tar")
    }
    assert f"build/{image}/{image}.tar" in call("show", image)

    assert told(call("test", image, "--json")) == {"oci": "test", "tar": "test"}
    bench.recipe("tree", "echo there >/etc/tree", tests=tests)
    assert "OCI image" in call("plan", image).splitlines()[-1]

    # As a kill would leave it.
    (bench.build / "running-tars" / image).touch()
    (bench.build / image / "tar" / "scratch").mkdir()
    call("test", image)
    assert not list((bench.build / "running-tars").iterdir())
    bench.assert_clean()


@pytest.mark.long
def test_what_it_says_otherwise_than_its_image_is_a_failure(bench: Bench, call: Call) -> None:
    tests = [{"name": "where", "command": ["sh", "-c", "[ -d /proc/self ] && echo container || echo tree"]}]
    image = bench.recipe("otherwise", tests=tests)
    with pytest.raises(AssertionError, match="differs from the OCI image: only the OCI image's output"):
        call("build", image, "--format", "tar")
    assert bench.report(image, "tar")["status"] == "failed"
    assert not (bench.build / image / f"{image}.tar").exists()
