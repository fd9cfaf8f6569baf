"""What programs that the factory starts get of its environment, and who may read that at all."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imagefactory.system import processes
from imagefactory.system.environment import child_environment

NEEDED = {
    "PATH": "/usr/bin",
    "HOME": "/home/me",
    "LANG": "C.UTF-8",
    "LC_TIME": "de_DE.UTF-8",
    "TMPDIR": "/scratch",
    "XDG_RUNTIME_DIR": "/run/user/1000",
    "DOCKER_HOST": "unix:///run/docker.sock",
    "DOCKER_CONFIG": "/home/me/.docker",
    "APPTAINER_TMPDIR": "/scratch",
}
CREDENTIALS = (
    *(
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "OS_PASSWORD",
        "OS_CLOUD",
        "COSIGN_PASSWORD",
        "COSIGN_KEY",
    ),
    *("REGISTRY_PASSWORD", "GITHUB_TOKEN", "APPTAINER_DOCKER_PASSWORD", "SINGULARITY_DOCKER_PASSWORD"),
    *("http_proxy", "https_proxy", "HTTP_PROXY", "ALL_PROXY", "UV_DEFAULT_INDEX", "PIP_INDEX_URL", "NETRC"),
    *("DOCKER_AUTH_CONFIG", "DOCKER_CUSTOM_HEADERS", "SSH_AUTH_SOCK", "GIT_CONFIG_VALUE_0", "APPTAINER_BIND"),
    "ANYTHING_ELSE",
)


@pytest.fixture(autouse=True)
def caller(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        monkeypatch.delenv(name)
    for name, value in {**NEEDED, **dict.fromkeys(CREDENTIALS, "s3cret-word")}.items():
        monkeypatch.setenv(name, value)


def test_a_child_gets_what_it_needs_and_no_credential() -> None:
    assert child_environment() == NEEDED


def test_a_child_gets_what_the_call_names() -> None:
    named = {"https_proxy": "http://proxy.example.org", "HOME": "/elsewhere"}
    assert child_environment(named) == {**NEEDED, **named}


def test_the_agent_goes_along_where_the_engine_is_reached_over_ssh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "ssh://me@build.example.org")
    assert child_environment()["SSH_AUTH_SOCK"] == "s3cret-word"


class Started(Exception):
    """A program would have been started."""


@pytest.mark.parametrize(
    "start",
    [
        lambda: processes.run(["true"]),
        lambda: processes.stream(["true"], print, stop=processes.Stop()),
        lambda: processes.feed(["true"], lambda pipe: None, print, stop=processes.Stop()),
        lambda: processes.attach(["true"]),
    ],
    ids=("run", "stream", "feed", "attach"),
)
def test_every_way_of_starting_a_program_gives_it_that(
    start: Callable[[], object], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given: list[dict[str, str]] = []

    def popen(argv: list[str], *, env: dict[str, str] | None = None, **options: Any) -> Any:
        given.append(dict(os.environ) if env is None else env)
        raise Started

    monkeypatch.setattr(subprocess, "Popen", popen)
    monkeypatch.setattr(processes, "which", lambda program: program)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with pytest.raises(Started):
        start()
    assert given == [child_environment()]
