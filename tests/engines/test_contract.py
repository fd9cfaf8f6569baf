"""Each way to break the contract of all images is caught by its own test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.engines.bench import Bench, exists

TOKEN = "correct-horse-battery"
KEY = "\n".join(
    ["-----BEGIN RSA PRIVATE KEY-----", *["MIIEpAIBAAKCAQEA" * 4] * 3, "-----END RSA PRIVATE KEY-----"]
)
SETUID = """
cp /bin/true /usr/bin/runs-as-root; chmod 4755 /usr/bin/runs-as-root
cp /bin/true /usr/bin/runs-as-staff; chmod 2755 /usr/bin/runs-as-staff
mkdir -p /opt/shared; chmod 2775 /opt/shared
"""
LEFTOVERS = """
mkdir -p /root/.cache/pip; echo x >/root/.cache/pip/x
echo x >/var/lib/apt/lists/some_list; echo x >/var/cache/apt/x.deb; echo x >/var/tmp/x
"""
SECRETS = f"""
mkdir -p /opt/conf; echo machine x >/root/.netrc; echo 'token = {TOKEN}' >/opt/conf/app.ini
cat >/opt/conf/key <<'END'
{KEY}
END
"""
COMMANDS = """
for name in fine root-only; do
  printf '#!/bin/sh\\necho works\\n' >/usr/bin/$name
  chmod 755 /usr/bin/$name
done
chmod 700 /usr/bin/root-only
"""

# What is wrong, the tests that must fail, and what their reasons must name.
CASES: dict[str, tuple[str, dict[str, Any], dict[str, list[str]]]] = {
    "setuid": (
        SETUID,
        {},
        {"no-new-setuid": ["usr/bin/runs-as-root (4755)", "usr/bin/runs-as-staff (2755)"]},
    ),
    "leftovers": (
        LEFTOVERS,
        {},
        {
            "no-leftovers": [
                "cache root/.cache/pip/x",
                "apt list var/lib/apt/lists/some_list",
                "apt cache var/cache/apt/x.deb",
                "temporary file var/tmp/x",
            ]
        },
    ),
    "secrets": (
        SECRETS,
        {},
        {
            "no-secrets": [
                "file root/.netrc",
                "private key in opt/conf/key",
                "the value of this machine's MY_API_TOKEN in opt/conf/app.ini",
            ]
        },
    ),
    "commands": (
        COMMANDS,
        {"commands": ["fine", "root-only", "nonesuch"]},
        {"commands": ["not found on PATH: root-only, nonesuch"]},
    ),
    "environment-secret": (
        "true",
        {"environment": {"DB_PASSWORD": "hunter2hunter2"}},
        {"no-secrets": ["a credential in the image's configuration or history"]},
    ),
}


@pytest.fixture(scope="module")
def reports(module_bench: Bench) -> dict[str, tuple[Bench, str]]:
    """All of them built by one command, two at a time."""
    images = {
        name: module_bench.recipe(f"contract-{name}", install, **more)
        for name, (install, more, _) in CASES.items()
    }
    ended = module_bench.run("build", *images.values(), status=1, MY_API_TOKEN=TOKEN)
    assert ended.err.count("error: ") == len(CASES), ended.err
    assert TOKEN not in ended.text
    return {name: (module_bench, image) for name, image in images.items()}


@pytest.mark.parametrize("name", CASES)
def test_a_breach(reports: dict[str, tuple[Bench, str]], name: str) -> None:
    bench, image = reports[name]
    expected = CASES[name][2]
    failed = bench.failed_tests(image)
    assert set(failed) == set(expected)
    for test, parts in expected.items():
        assert all(part in failed[test] for part in parts), failed
    assert not exists(f"imagefactory/{image}")


def test_build_inputs_that_stay_are_leftovers(bench: Bench) -> None:
    image = bench.recipe(
        "contract-stay",
        "mkdir -p /opt/x; echo x >/opt/x/x",
        build={"inputs": {"apt": ["hello"]}, "keep": ["/opt/x", "/var/lib/dpkg"]},
    )
    bench.run("build", image, status=1)
    assert bench.failed_tests(image) == {"no-leftovers": "build-only package hello"}


def test_what_the_image_or_its_base_has_anyway_is_no_leftover(bench: Bench) -> None:
    image = bench.recipe(
        "contract-build",
        "mkdir -p /opt/x; echo x >/opt/x/x",
        # hello comes with the image too; dash is the base's own.
        inputs={"apt": ["hello"]},
        build={"inputs": {"apt": ["dash"]}, "keep": ["/opt/x"]},
    )
    bench.run("build", image)


KEYS = "usr/lib/x86_64-linux-gnu/libmbedx509.so.2.28.3"  # which holds the library's own test keys


def test_what_a_distribution_s_package_ships_is_no_secret(bench: Bench) -> None:
    image = bench.recipe("contract-shipped", inputs={"apt": ["libmbedx509-1"]})
    bench.run("build", image)


def test_a_waived_path_passes_and_is_shown(bench: Bench) -> None:
    """A changed file of a package, and one that no package knows: each needs a waiver of its own."""
    touched = f"echo >>/{KEYS}; mkdir -p /opt/conf; cp /{KEYS} /opt/conf/keys"
    waivers = [{"test": "no-secrets", "path": KEYS, "reason": "the library's own test keys"}]
    image = bench.recipe("contract-waived", touched, inputs={"apt": ["libmbedx509-1"]}, waivers=waivers)
    bench.run("build", image, status=1)
    assert bench.failed_tests(image) == {"no-secrets": "private key in opt/conf/keys"}
    waivers.append({"test": "no-secrets", "path": "opt/conf/keys", "reason": "a copy of these"})
    bench.recipe("contract-waived", touched, inputs={"apt": ["libmbedx509-1"]}, waivers=waivers)
    bench.run("build", image)
    (test,) = (test for test in bench.report(image)["tests"] if test["name"] == "no-secrets")
    assert test["waived"] == [
        "private key in opt/conf/keys: a copy of these",
        f"private key in {KEYS}: the library's own test keys",
    ]
    assert "a copy of these" in bench.run("show", image).out


def test_an_image_for_its_own_user_only(bench: Bench) -> None:
    image = bench.recipe("contract-user", "chmod 700 /etc/imagefactory")
    bench.run("build", image, status=1)
    failed = bench.failed_tests(image)
    assert {"arbitrary-user", "file-ownership", "no-network"} <= set(failed)
    assert "does not start: status 2" in failed["arbitrary-user"]
    assert not {"labels", "not-root", "no-secrets", "no-leftovers"} & set(failed)


def test_an_image_that_wants_a_gpu_keeps_it_without_one(bench: Bench) -> None:
    """What it says of the missing GPU is for people, and is no breach."""
    gpu = {"cuda": "13.0", "driver": "580", "capability": ["9.0"]}
    tests = [{"name": "says", "command": ["true"], "output": ["no NVIDIA GPU is visible here|the driver is"]}]
    if Path("/dev/nvidiactl").exists():
        tests[0]["output"] = []
    image = bench.recipe("wants-a-gpu", needs={"gpu": gpu}, tests=tests)
    bench.run("build", image)
    assert bench.failed_tests(image) == {}
