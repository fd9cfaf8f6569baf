"""What programs that the factory starts get of its environment, and who may read that at all."""

from __future__ import annotations

import ast
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imagefactory.system import processes
from imagefactory.system.environment import child_environment
from imagefactory.system.redact import keep_variables, known_secrets

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


# Who reads what of the environment. All of it is read to start programs, to know the secrets in it, and to
# set what pydantic reads. No credential is asked for by name: passwords stand in addresses, which the site's
# settings hold, or in .netrc, which HTTP reads.
READERS: dict[str, set[str]] = {
    "__init__.py": {"*"},
    "cli/main.py": {"*", "PYDANTIC_DISABLE_PLUGINS"},
    "cli/errors.py": {"NO_COLOR"},
    "cli/progress.py": {"GITHUB_ACTIONS", "GITLAB_CI"},
    "definitions/bases/load.py": {"SOURCE_DATE_EPOCH"},
    "drive/licences.py": {"XDG_STATE_HOME"},
    "publish/cloud.py": {"OS_CLOUD", "OS_CLIENT_CONFIG_FILE"},
    "system/environment.py": {"*", "DOCKER_HOST"},
    "system/history.py": {"SOURCE_DATE_EPOCH"},
    "system/memory.py": {"*"},  # of a constant's name
    "system/site.py": {
        *("*", "IMAGEFACTORY_SITE", "IMAGEFACTORY_RETRY_PAUSE", "IMAGEFACTORY_ACCEPT_LICENCES"),
        *("IMAGEFACTORY_MIRRORS", "XDG_CONFIG_HOME", "XDG_DATA_HOME"),
    },
    "targets/sif/subject.py": {"TERM"},
    "targets/vm/packer.py": {"PACKER_PLUGIN_PATH"},
}
PACKAGE = Path(processes.__file__).parents[1]


def readings(source: str) -> set[str]:
    """The names of variables that a module reads; ``*`` where it may read any."""
    tree = ast.parse(source)
    above = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    found = set()
    for node in ast.walk(tree):
        word = getattr(node, "attr", None) or getattr(node, "id", None)
        if isinstance(node, ast.ImportFrom) and node.module == "os":
            words = {alias.name for alias in node.names}
            found |= {"*"} if words & {"environ", "environb", "getenv", "getenvb"} else set()
        if word in ("environ", "environb", "getenv", "getenvb"):
            found.add(_key(node, above))
    return found


def _key(node: ast.AST, above: dict[ast.AST, ast.AST]) -> str:
    user = above[node]
    key: Any = None
    if isinstance(user, ast.Attribute) and user.attr == "get":
        user = above[user]
    if isinstance(user, ast.Call):
        key = user.args[0] if user.args else None
    elif isinstance(user, ast.Subscript):
        key = user.slice
    elif isinstance(user, ast.Compare):
        key = user.left
    return str(key.value) if isinstance(key, ast.Constant) else "*"


@pytest.mark.parametrize(
    ("source", "names"),
    [
        (
            "import os\nos.environ['A'], os.environ.get('B', ''), os.getenv('C'), 'D' in os.environ",
            set("ABCD"),
        ),
        ("import os\nos.environ.get(name)", {"*"}),
        ("import os\ndict(os.environ)", {"*"}),
        ("from os import environ", {"*"}),
        ("import os\nos.path.join('a')", set()),
    ],
)
def test_readings_are_found(source: str, names: set[str]) -> None:
    assert readings(source) == names


def test_the_environment_is_read_in_these_places_alone() -> None:
    found = {str(file.relative_to(PACKAGE)): readings(file.read_text()) for file in PACKAGE.rglob("*.py")}
    assert {name: names for name, names in found.items() if names} == READERS


def test_rooms_that_make_and_test_images_read_no_credential() -> None:
    rooms = ("targets/", "drive/", "testing/", "inputs/", "deliver/", "plan/", "locks/", "definitions/")
    read = {name for file, names in READERS.items() if file.startswith(rooms) for name in names}
    assert "*" not in read
    keep_variables(dict.fromkeys(read, "correct-horse"))
    assert known_secrets() == {}
