"""What should not be in an image's layers, and what every image must answer."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from imagefactory.model.recipe import Waiver
from imagefactory.model.report import TestReport
from imagefactory.model.spec import ImageDefinition
from imagefactory.system.redact import keep_variables
from imagefactory.targets.oci.contract import contract_tests
from imagefactory.targets.oci.survey import DPKG_STATUS, Entry, survey
from imagefactory.testing.contract import REQUIRED_LABELS
from imagefactory.testing.subject import SOMEBODY, Call, Outcome
from tests.unit.samples import STAGE, image

KEY = b"-----BEGIN RSA PRIVATE KEY-----\n" + b"MIIE" * 40


def entry(path: str, head: bytes = b"", **changes: Any) -> Entry:
    whole = {"path": path, "mode": 0o644, "is_file": True, "head": head}
    return Entry(**{**whole, **changes})


def test_a_clean_image_is_clean() -> None:
    found = survey(
        [
            entry("usr/bin/su", mode=0o755),
            entry("var/lib/apt/lists/lock"),
            entry("var/lib/apt/lists/partial", is_file=False, mode=0o755),
            entry("opt/app/bin/hello", b"#!/bin/sh\n", mode=0o755),
            entry("opt/app/build/notes"),
            entry("tmp", is_file=False, mode=0o1777),
            entry("var/log", is_file=False),
            entry("var/mail", is_file=False, mode=0o2775),
        ]
    )
    assert (found.secrets, found.leftovers, found.setuid) == ([], [], [])


def test_a_setuid_program_in_another_s_place_is_found() -> None:
    assert survey([entry("usr/bin/su", mode=0o4755)]).setuid == ["usr/bin/su (4755)"]


@pytest.mark.parametrize("mode", [0o4755, 0o2755, 0o6755])
def test_a_new_setuid_program_is_found(mode: int) -> None:
    assert survey([entry("usr/bin/x", mode=mode)]).setuid == [f"usr/bin/x ({mode:o})"]


def test_a_new_capability_is_found() -> None:
    assert len(survey([entry("usr/bin/ping", mode=0o755, capable=True)]).setuid) == 1


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("var/lib/apt/lists/deb.example.org_Packages", "apt list"),
        ("var/cache/apt/archives/hello.deb", "apt cache"),
        ("var/cache/apt/pkgcache.bin", "apt cache"),
        ("root/.cache/pip/x", "cache"),
        ("home/user/.cache/x", "cache"),
        ("var/log/dpkg.log", "log"),
        ("tmp/x", "temporary file"),
        ("var/tmp/x", "temporary file"),
        ("recipe/install.sh", "build input"),
        ("sources/app/app.tar.gz", "build input"),
        ("build/main.o", "build input"),
    ],
)
def test_leftovers_are_found(path: str, what: str) -> None:
    assert survey([entry(path)]).leftovers == [f"{what} {path}"]


def test_an_empty_build_folder_is_a_leftover() -> None:
    assert survey([entry("sources", is_file=False)]).leftovers == ["build input sources"]


def test_a_file_that_a_later_layer_deletes_is_still_there() -> None:
    found = survey([entry("tmp/x"), entry("tmp/.wh.x"), entry(".wh.tmp")])
    assert found.leftovers == ["temporary file tmp/x"]


@pytest.mark.parametrize(
    "path",
    [
        *("root/.netrc", "home/user/.git-credentials", "root/.docker/config.json", "root/.ssh/id_ed25519"),
        *("etc/openstack/clouds.yaml", "etc/ssh/ssh_host_rsa_key", "root/.aws/credentials"),
    ],
)
def test_files_that_hold_secrets_are_found(path: str) -> None:
    assert survey([entry(path)]).secrets == [f"file {path}"]
    assert survey([entry(f"usr/share/doc/x/{path}")]).secrets == []


def test_a_private_key_is_found_but_not_a_program_that_reads_keys() -> None:
    assert survey([entry("etc/app/key", KEY)]).secrets == ["private key in etc/app/key"]
    assert survey([entry("usr/bin/openssl", KEY.splitlines()[0] + b"\0more")]).secrets == []


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("MIRROR_PASSWORD", "correct-horse", True),
        ("API_TOKEN", "0123456789", True),
        ("AWS_SECRET_ACCESS_KEY", "0123456789", True),
        ("API_TOKEN", "short", False),
        ("TOKEN_FILE", "/run/secrets/token", False),
        ("EDITOR", "correct-horse", False),
    ],
)
def test_this_machine_s_secrets_are_found(name: str, value: str, found: bool) -> None:
    keep_variables({name: value})
    secrets = survey([entry("opt/app/config", f"x={value}\n".encode())]).secrets
    assert secrets == ([f"the value of this machine's {name} in opt/app/config"] if found else [])


def test_packages_are_those_installed_beyond_the_base() -> None:
    def status(*names: str) -> bytes:
        blocks = [f"Package: {name}\nStatus: install ok installed\n" for name in names]
        return "\n".join([*blocks, "Package: gone\nStatus: deinstall ok config-files\n"]).encode()

    layers = [entry(DPKG_STATUS, status("dash", "gcc"))]
    assert survey(layers, {"dash", "libc6"}).packages == {"gcc"}


LABELS = {**dict.fromkeys(REQUIRED_LABELS, "x"), "io.imagefactory.id": "app"}
SETTINGS = '{"Config": {"User": "1000:1000", "Env": ["PATH=/usr/bin"]}}'


class Image:
    """An image that keeps the contract, but for what a test changes."""

    def __init__(self, **changes: Any) -> None:
        self.local = changes.get("local", False)
        self._changes = changes

    def run(self, call: Call) -> Outcome:
        parts = re.findall(
            r"^\( (.*?)\n\); echo; echo (=\w+=)\$\?$", call.command[2], re.DOTALL | re.MULTILINE
        )
        if parts:
            said = "\n".join(f"{self._answer(script).output}\n{mark}0" for script, mark in parts)
            return Outcome(0, f"{said}\n", 0.1)
        return self._answer(call.command[2])

    def _answer(self, script: str) -> Outcome:
        for word, output in self._changes.get("answers", {}).items():
            if word in script:
                return Outcome(0, output, 0.1)
        if "id -u" in script:
            return Outcome(0, f"{SOMEBODY[0]}\n{SOMEBODY[1]}\nfine\n", 0.1)
        return Outcome(0, "lo\n" if "/proc/net/dev" in script else "", 0.1)

    def labels(self) -> Mapping[str, str]:
        answer: Mapping[str, str] = self._changes.get("labels", LABELS)
        return answer

    def settings(self) -> str:
        answer: str = self._changes.get("settings", SETTINGS)
        return answer

    def knows_base(self) -> bool:
        answer: bool = self._changes.get("knows_base", True)
        return answer

    def entries(self) -> Iterator[Entry]:
        return iter(self._changes.get("entries", ()))


Failures = Callable[..., dict[str, str]]


@pytest.fixture
def failures(tmp_path: Path) -> Failures:
    """What fails, and why, for an image with some changes."""

    def find(definition: ImageDefinition | None = None, **changes: Any) -> dict[str, str]:
        reports = list(contract_tests(Image(**changes), definition or image(), {"dash"}, tmp_path))
        assert len(reports) == 11
        return {report.name: report.reason for report in reports if report.status == "failed"}

    return find


def test_an_image_that_keeps_the_contract_passes(failures: Failures) -> None:
    assert failures() == {}


@pytest.mark.parametrize(
    ("changes", "test", "reason"),
    [
        (
            {"answers": {"id -u": "0\n0\nfine"}},
            "arbitrary-user",
            "user 12345 in group 54321 cannot work here: status 0, '0 0 fine'",
        ),
        (
            {"answers": {".probe": "/etc\n/opt"}},
            "read-only-root",
            "does not start, or can be written to, on a read-only root: status 0, '/etc /opt'",
        ),
        (
            {"answers": {"net/route": "eth0\t00000000"}},
            "no-network",
            "does not start without network: status 0, 'eth0 00000000'",
        ),
        ({"answers": {"GREETING-": "GREETING\n"}}, "environment", "not set as declared: GREETING"),
        ({"answers": {"command -v": "hello\n"}}, "commands", "not found on PATH: hello"),
        (
            {"settings": SETTINGS.replace("1000:1000", "0:0")},
            "not-root",
            "runs as root unless told otherwise",
        ),
        ({"settings": SETTINGS.replace("1000:1000", "")}, "not-root", "runs as root unless told otherwise"),
        ({"labels": {}}, "labels", f"missing or empty: {', '.join(REQUIRED_LABELS)}"),
        ({"labels": {**LABELS, "io.imagefactory.id": "b"}}, "labels", "the image says it is b"),
        (
            {"settings": SETTINGS.replace("PATH=/usr/bin", "DB_PASSWORD=hunter2")},
            "no-secrets",
            "a credential in the image's configuration or history",
        ),
        (
            {"settings": SETTINGS.replace("PATH=/usr/bin", "A=https://me:hunter2@example.org")},
            "no-secrets",
            "a credential in the image's configuration or history",
        ),
        ({"entries": [entry("tmp/x")]}, "no-leftovers", "temporary file tmp/x"),
        (
            {"entries": [entry(f"tmp/{number}") for number in range(7)]},
            "no-leftovers",
            ", ".join(f"temporary file tmp/{number}" for number in range(5)) + " and 2 more",
        ),
        ({"entries": [entry("x", mode=0o4755)]}, "no-new-setuid", "x (4755)"),
    ],
)
def test_every_breach_is_told(failures: Failures, changes: dict[str, Any], test: str, reason: str) -> None:
    assert failures(**changes) == {test: reason}


def test_a_build_only_package_in_the_image_is_a_leftover(failures: Failures) -> None:
    status = b"Package: gcc\nStatus: install ok installed\n"
    found = failures(image(build=STAGE), entries=[entry(DPKG_STATUS, status)])
    assert found == {"no-leftovers": "build-only package gcc"}


SUMS = "var/lib/dpkg/info/libkeys:amd64.md5sums"


@pytest.mark.parametrize(
    ("path", "md5", "secrets"),
    [
        ("usr/lib/libkeys.so", "a" * 32, []),
        ("lib/libkeys.so", "a" * 32, []),
        ("usr/lib/libkeys.so", "b" * 32, ["private key in usr/lib/libkeys.so"]),
        ("usr/lib/other.so", "a" * 32, ["private key in usr/lib/other.so"]),
        ("opt/usr/lib/libkeys.so", "a" * 32, ["private key in opt/usr/lib/libkeys.so"]),
    ],
)
def test_what_a_distribution_s_package_ships_is_no_secret(path: str, md5: str, secrets: list[str]) -> None:
    """As long as it is what the package ships, in whatever order the layers hold them."""
    sums = entry(SUMS, b"a" * 32 + b"  usr/lib/libkeys.so\n")
    key = entry(path, KEY, md5=md5)
    assert survey([sums, key]).secrets == survey([key, sums]).secrets == secrets


def waiver(test: str = "no-secrets", path: str = "opt/app/key.pem") -> Waiver:
    return Waiver(test=test, path=path, reason="the key of an example")  # type: ignore[arg-type]


def test_what_a_recipe_waives_is_shown_with_its_reason(tmp_path: Path) -> None:
    """At one path, in one test; all else that the test finds counts."""
    key, other = entry("opt/app/key.pem", KEY), entry("opt/app/other.pem", KEY)
    ours = image(waivers=(waiver(), waiver("no-leftovers", "tmp/x")))

    def tests(*entries: Entry) -> dict[str, TestReport]:
        reports = contract_tests(Image(entries=entries), ours, (), tmp_path)
        return {report.name: report for report in reports}

    assert tests(key)["no-secrets"].status == "passed"
    assert tests(key)["no-secrets"].waived == ("private key in opt/app/key.pem: the key of an example",)
    assert tests(key, other)["no-secrets"].reason == "private key in opt/app/other.pem"
    assert tests()["no-secrets"].waived == ("opt/app/key.pem: nothing is to be waived there",)
    assert tests(entry("tmp/x"), entry("tmp/y"))["no-leftovers"].reason == "temporary file tmp/y"
    assert tests(entry("tmp/x", mode=0o4755))["no-new-setuid"].status == "failed"


def test_this_machine_s_secrets_cannot_be_waived(tmp_path: Path) -> None:
    keep_variables({"MIRROR_PASSWORD": "correct-horse"})
    leak = Image(entries=[entry("opt/app/key.pem", b"correct-horse")])
    reports = contract_tests(leak, image(waivers=(waiver(),)), (), tmp_path)
    assert {report.name for report in reports if report.status == "failed"} == {"no-secrets"}


def test_our_secret_in_the_configuration_is_found(failures: Failures) -> None:
    keep_variables({"MIRROR_PASSWORD": "correct-horse"})
    found = failures(settings=SETTINGS.replace("/usr/bin", "correct-horse"))
    assert found == {"no-secrets": "the value of this machine's MIRROR_PASSWORD in the configuration"}


def test_what_cannot_be_tested_says_so(tmp_path: Path) -> None:
    reports = contract_tests(Image(knows_base=False), image(), (), tmp_path)
    not_run = {report.name: report.reason for report in reports if report.status == "not-run"}
    assert list(not_run) == ["file-ownership", "no-secrets", "no-leftovers", "no-new-setuid"]
    assert all(not_run.values())
