"""What buildx writes while it builds (--progress=rawjson), and what we make of it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from imagefactory.errors import BuildFailed, DiskFull, EngineError, FactoryError
from imagefactory.model.report import TestReport
from imagefactory.model.spec import Step
from imagefactory.system.log import Log
from imagefactory.system.processes import Stop
from imagefactory.targets.common import buildx
from imagefactory.targets.common.buildx import Request, _Reader, step_name

APT, INSTALL, BASE = "sha256:apt", "sha256:install", "sha256:base"
NAMES = {
    BASE: "[stage-1 1/7] FROM docker.io/imagefactory/debian-12@sha256:1234",
    APT: "[system 2/3] RUN --network=none     --mount=type=tmpfs,target=/tmp "
    "    --mount=type=bind,source=steps/apt-image.sh,target=/step.sh     sh /step.sh",
    INSTALL: "[build 3/4] RUN --network=none     . /etc/environment.sh     && sh /recipe/install.sh",
}
AT = "2024-05-01T12:00:{:09.6f}123Z"  # Go writes nanoseconds


class Watcher:
    """Remembers what it hears."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def phase(self, id: str, text: str) -> None:
        self.heard.append(f"phase {text}")

    def step(self, id: str, name: str) -> None:
        self.heard.append(f"step {name}")

    def line(self, id: str, text: str) -> None:
        self.heard.append(f"line {text}")

    def amount(self, id: str, done: int, total: int) -> None:
        raise AssertionError

    def step_done(self, id: str, step: Step) -> None:
        self.heard.append(f"done {step.name} {step.seconds}{' cached' if step.cached else ''}")

    def test_done(self, id: str, test: TestReport) -> None:
        raise AssertionError

    def done(self, id: str, ok: bool, text: str) -> None:
        raise AssertionError


@pytest.fixture
def watcher() -> Watcher:
    return Watcher()


@pytest.fixture
def log(tmp_path: Path, watcher: Watcher) -> Iterator[Log]:
    log = Log("app", tmp_path / "build.log", watcher)
    yield log
    log.close()


def vertex(digest: str, start: float | None = None, end: float | None = None, **more: Any) -> str:
    found: dict[str, Any] = {"digest": digest, "name": NAMES.get(digest, digest), **more}
    if start is not None:
        found["started"] = AT.format(start)
    if end is not None:
        found["completed"] = AT.format(end)
    return json.dumps({"vertexes": [found]})


def wrote(digest: str, text: str) -> str:
    data = base64.b64encode(text.encode()).decode()
    return json.dumps({"logs": [{"vertex": digest, "stream": 1, "data": data}]})


GOOD = [
    vertex(BASE),
    vertex("internal", 0, 1, name="[internal] load build definition from Dockerfile"),
    vertex("metadata", 0, 1, name="[internal] load metadata for debian"),
    vertex(BASE, 1, 1, cached=True),
    vertex(APT, 1),
    wrote(APT, "Get:1 hello\r\nSetting up hel"),
    wrote(APT, "lo\n\n"),
    vertex(APT, 1, 3.5),
    vertex(INSTALL, 4),
    vertex(INSTALL, 4, 4.25),
    vertex("export", 5, 6, name="exporting to oci image format"),
]


def test_steps_and_lines_are_told_as_they_happen(log: Log, watcher: Watcher) -> None:
    reader = _Reader(log)
    for line in GOOD:
        reader.feed(line)
    assert watcher.heard == [
        "done load the base image 0.0 cached",
        "step install apt packages",
        "line Get:1 hello",
        "line Setting up hello",
        "done install apt packages 2.5",
        "step build: install.sh",
        "done build: install.sh 0.25",
        "step write the image",
        "done write the image 1.0",
    ]
    assert reader.steps == (
        Step("load the base image", 0.0, True),
        Step("install apt packages", 2.5),
        Step("build: install.sh", 0.25),
        Step("write the image", 1.0),
    )
    assert "Setting up hello\n" in log.path.read_text()


def test_a_step_that_ends_twice_is_one_step(log: Log) -> None:
    reader = _Reader(log)
    for line in (vertex(APT, 1, 2), vertex(APT, 3, 5)):
        reader.feed(line)
    assert reader.steps == (Step("install apt packages", 3.0),)


@pytest.mark.parametrize("line", ["", "  ", "not json", "[1]", "1", "null", "{}", '{"vertexes": null}'])
def test_anything_else_is_passed_on_as_it_is(log: Log, line: str) -> None:
    reader = _Reader(log)
    reader.feed(line)
    assert reader.steps == ()


STATUS_2 = "process did not complete successfully: exit code: 2"


def failure(log: Log, output: str, error: str = STATUS_2, step: str = INSTALL) -> Any:
    reader = _Reader(log)
    for line in (*GOOD[:8], vertex(step, 4)):
        reader.feed(line)
    if output:
        reader.feed(wrote(step, output))
    reader.feed(vertex(step, 4, 5, error=error))
    reader.feed(vertex("other", 4, 5, error="rpc error: context canceled"))
    return reader.failure(log)


def test_a_layer_that_waits_for_its_like_is_no_failure(log: Log) -> None:
    reader = _Reader(log)
    reader.feed(
        "ERROR: (*service).Write failed: rpc error: code = Unavailable desc = ref layer-sha256:9add"
        " locked for 3.6ms (since 2026-11-29 09:24:00 +0000 UTC): unavailable"
    )
    reader.feed("ERROR: failed to parse the Dockerfile")
    error = reader.failure(log)
    assert type(error) is BuildFailed
    assert error.tail == ("ERROR: failed to parse the Dockerfile",)


@pytest.mark.parametrize(
    "said",
    [
        "failed to copy to tar: write tree.tar: no space left on device",
        "write tree.tar/ingest/d3aa/data: no space left on device",
        "write tree.tar/ingest/d3aa/data: no space left on device\nrpc error: code = Unavailable desc = EOF",
    ],
)
def test_a_full_disk_is_told_where_the_image_is_written(log: Log, tmp_path: Path, said: str) -> None:
    reader = _Reader(log)
    for line in said.splitlines():
        reader.feed(f"ERROR: {line}")
    error = reader.failure(log, tmp_path / "scratch" / "tree.tar")
    assert type(error) is DiskFull
    assert error.message == f"app: no space is left in {tmp_path / 'scratch'}"


def test_a_failure_names_the_step_and_keeps_its_last_lines(log: Log) -> None:
    error = failure(log, "".join(f"line {number}\n" for number in range(40)))
    assert type(error) is BuildFailed
    assert error.message == "app: step 'build: install.sh' ended with status 2"
    assert (error.step, error.log, error.exit_status) == ("build: install.sh", log.path, 1)
    assert error.tail == tuple(f"line {number}" for number in range(25, 40))


def test_a_failure_that_says_nothing_keeps_buildkit_s_words(log: Log) -> None:
    error = failure(log, "", "failed to calculate checksum: not found")
    assert error.message == "app: step 'build: install.sh' failed to calculate checksum: not found"


def test_a_failure_before_any_step_keeps_what_was_written(log: Log) -> None:
    reader = _Reader(log)
    reader.feed("ERROR: failed to parse the Dockerfile")
    error = reader.failure(log)
    assert error.message == "app: step 'build' failed"
    assert isinstance(error, BuildFailed)
    assert error.tail == ("ERROR: failed to parse the Dockerfile",)


@pytest.mark.parametrize(
    ("output", "kind", "message"),
    [
        ("write /x: no space left on device", DiskFull, "app: no space is left where the image is built"),
        ("make: *** [all] Error 1", BuildFailed, "app: step 'install apt packages' ended with status 2"),
    ],
)
@pytest.mark.parametrize("in_error", [False, True])
def test_kinds_of_failures_are_told_apart(
    log: Log, output: str, kind: type[FactoryError], message: str, in_error: bool
) -> None:
    said = ("", f"{output}: exit code: 2") if in_error else (f"x\n{output}\n", STATUS_2)
    error = failure(log, *said, step=APT)
    assert type(error) is kind
    assert error.message.startswith(message)
    assert error.hint or kind is BuildFailed


@pytest.mark.parametrize(
    "output", ["E: Failed to fetch a.deb", "Temporary failure resolving 'a'", "i/o timeout"]
)
def test_no_step_has_a_network_to_blame(log: Log, output: str) -> None:
    error = failure(log, f"{output}\n", step=APT)
    assert type(error) is BuildFailed
    assert error.message == "app: step 'install apt packages' ended with status 2"
    assert error.hint == "no step has a network: declare what it needs under 'inputs'"


@pytest.mark.parametrize("words", ["Cannot connect to the Docker daemon", "rpc error: code = Unavailable"])
def test_only_the_engine_s_own_words_say_that_it_is_gone(log: Log, words: str) -> None:
    gone = failure(log, "", words)
    assert (type(gone), gone.exit_status) == (EngineError, 3)
    assert gone.message == "app: the Docker Engine stopped answering during the build"
    assert type(failure(log, f"{words}\n")) is BuildFailed


def test_a_script_that_wants_the_network_is_told_that_it_has_none(log: Log) -> None:
    error = failure(log, "curl: (6) Could not resolve host: example.org\n")
    assert type(error) is BuildFailed
    assert error.hint == "no step has a network: declare what it needs under 'inputs'"
    assert failure(log, "make: *** [all] Error 1\n").hint == ""


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        (NAMES[APT], "install apt packages"),
        (NAMES[INSTALL], "build: install.sh"),
        (NAMES[BASE], "load the base image"),
        ("[context imagefactory/debian-12@sha256:1] oci-layout://x", "load the base image"),
        ("[stage-1 5/7] RUN useradd --uid 1000 user", "add the user"),
        ("[stage-1 6/7] RUN --network=none     sh /commands.sh", "list the commands"),
        ("[part-tools 4/4] RUN --network=none . /x && sh /recipe/install.sh", "part-tools: install.sh"),
        ("[stage-1 6/7] COPY --from=build /opt/app /opt/app", "COPY --from=build /opt/app /opt/app"),
        ("[build  3/12] WORKDIR /build", "build: WORKDIR /build"),
        (NAMES[APT].replace("apt-image", "apt-build"), "install apt packages to build with"),
        (NAMES[APT].replace("apt-image", "apt-tools"), "install apt packages to install with"),
        ("[pip 1/1] RUN --mount=source=steps/pip-image.sh,x=y sh /step.sh", "install Python packages"),
        ("[conda 2/2] RUN --mount=source=steps/conda-image.sh,x=y sh /step.sh", "install conda packages"),
        (
            "[conda 1/2] COPY environment.sh /etc/imagefactory/",
            "conda: COPY environment.sh /etc/imagefactory/",
        ),
        ("exporting to oci image format", "write the image"),
        ("[2/3] RUN " + "x" * 100, "x" * 57 + "..."),
        ("[2/3] RUN --mount=type=cache a \\\n   b", "a b"),
        ("", ""),
    ],
)
def test_step_names_are_short(raw: str, name: str) -> None:
    assert step_name(raw) == name


def test_a_build_gives_its_steps_or_its_failure(
    log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []
    status = 0

    def stream(argv: list[str], on_line: Callable[[str], None], **options: Any) -> int:
        asked.append(argv)
        for line in GOOD:
            on_line(line)
        return status

    monkeypatch.setattr(buildx, "stream", stream)
    request = Request(
        tmp_path / "context", "app:1", 1_700_000_000, tmp_path / "image.tar", "linux/amd64", cache=False
    )
    assert len(buildx.build(request, log, Stop())) == 4
    (argv,) = asked
    assert "SOURCE_DATE_EPOCH=1700000000" in argv
    assert "--no-cache" in argv
    # A build has no network, and so no proxy: nor one out of the caller's Docker settings.
    assert not [word for word in argv if "--network" in word or "--allow" in word]
    proxies = {word for word in argv if "proxy" in word.lower()}
    assert {"http_proxy=", "HTTPS_PROXY=", "no_proxy=", "ALL_PROXY="} <= proxies
    assert all(word.endswith("=") for word in proxies)
    status = 1
    with pytest.raises(BuildFailed):
        buildx.build(request, log, Stop())


def test_a_tree_is_written_without_network(log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[list[str], dict[str, Any]]] = []

    def stream(argv: list[str], on_line: Callable[[str], None], **options: Any) -> int:
        asked.append((argv, options))
        return 0

    monkeypatch.setattr(buildx, "stream", stream)
    request = Request(
        tmp_path / "context", "tree", 1_700_000_000, tmp_path / "tree.tar", "linux/amd64", kind="tree"
    )
    assert buildx.build(request, log, Stop()) == ()
    ((argv, options),) = asked
    assert "type=tar,dest=tree.tar" in argv
    assert not [word for word in argv if "network" in word or "secret" in word]
    # Set, to nothing: Docker's own settings may name some.
    assert sorted(word for word in argv if "proxy" in word.lower() and word.islower()) == [
        *("all_proxy=", "ftp_proxy=", "http_proxy=", "https_proxy=", "no_proxy="),
    ]
    assert "environment" not in options
