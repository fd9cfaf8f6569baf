"""Project images: built by Packer, booted, and found to be what they should be."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from imagefactory.guest import BootOptions, Guest, Seed, boot, open_disk
from imagefactory.system.processes import Stop
from imagefactory.system.store import file_sha256
from tests.cloud.sample import COUNT, COUNTS
from tests.engines.bench import Bench
from tests.engines.canaries import Canaries, Watch, a_home, programs_of, with_login
from tests.engines.conftest import shared_folder
from tests.engines.machines import SSH_SECONDS
from tests.engines.vmbase import NEWEST, copy_vm_base, shared
from tests.upstreams.server import Upstream

pytestmark = [pytest.mark.timeout(3600), pytest.mark.long]
APP = """#!/bin/sh
echo "counted $(wc -l <"$1") lines as $(id -u)"
"""
TESTS = [
    COUNTS,
    {
        "name": "reads",
        "command": ["count", "/data/lines/lines.txt"],
        "data": ["lines"],
        "output": ["^counted 2 lines"],
        "varies": ["as [0-9]+$"],
    },
]
LINES = b"one\ntwo\n"


@pytest.fixture(scope="module")
def planted() -> Canaries:
    """Secrets in the environment and in the home of whoever builds."""
    return Canaries()


@pytest.fixture(scope="module")
def watch(planted: Canaries) -> Watch:
    """Sees the programs of the build; seldom, for an emulated machine needs all of this one."""
    return Watch(planted, pause=0.2)


@pytest.fixture(scope="module")
def built(
    module_bench: Bench, tmp_path_factory: pytest.TempPathFactory, planted: Canaries, watch: Watch
) -> tuple[Bench, str]:
    """An image whose program counts lines, as a VM image."""
    copy_vm_base(shared(NEWEST, shared_folder(tmp_path_factory)), module_bench, NEWEST)
    install = f"cat >/usr/local/bin/count <<'END'\n{APP}END\nchmod 755 /usr/local/bin/count"
    folder = tmp_path_factory.mktemp("upstream")
    (folder / "lines.txt").write_bytes(LINES)
    with Upstream(folder) as upstream:
        data = {"lines": {"url": f"{upstream.url}/lines.txt", "sha256": hashlib.sha256(LINES).hexdigest()}}
        image = module_bench.recipe("vm-app", install, tests=TESTS, test_data=data, commands=["count"])
        (module_bench.folder(image) / "tests" / "count.sh").write_text(COUNT)
        dead = with_login("http://127.0.0.1:9", planted.plant("proxy password"))
        module_bench.environment = {
            **a_home(tmp_path_factory.mktemp("home"), planted),
            **dict.fromkeys(("http_proxy", "https_proxy"), dead),
            "no_proxy": "127.0.0.1",
        }
        with watch:
            ended = module_bench.run("build", image, "--format", "vm", "--verbose", timeout=3000)
    planted.search_text("the screen", ended.text)
    return module_bench, image


def disk_of(bench: Bench, image: str) -> Path:
    return bench.build / image / str(bench.report(image, "vm")["file"])


def test_it_is_built_booted_and_tested(built: tuple[Bench, str]) -> None:
    bench, image = built
    report = bench.report(image, "vm")
    assert report["status"] == "passed"
    tests = {(test["name"], test["options"]): test["status"] for test in report["tests"]}
    assert tests["counts", ""] == tests["counts", "in Apptainer"] == "passed"
    assert tests["reads", ""] == tests["reads", "in Apptainer"] == tests["size", ""] == "passed"
    expected = "cloud-init no-failed-units disk-grows keys-are-its-own open-ports release selftest"
    assert {*expected.split(), "guest-agent"} <= {name for name, _ in tests}
    assert ("uefi-config-drive-no-network", "") in tests
    assert {"packer", "qemu"} <= report["engines"].keys()
    digests = {need["kind"]: need["digest"] for need in report["needs"]}
    assert digests.keys() == {"vmbase", "oci", "sif"}
    assert digests["oci"] == bench.report(image, "oci")["digest"]
    info = subprocess.run(
        ["qemu-img", "info", "--output=json", disk_of(bench, image)], capture_output=True, check=True
    )
    assert json.loads(info.stdout)["format"] == "qcow2"


def test_it_holds_and_tells_no_secret(
    built: tuple[Bench, str], planted: Canaries, watch: Watch, tmp_path: Path
) -> None:
    bench, image = built
    disk = disk_of(bench, image)
    looked_at = planted.search_folder(bench.build / image, lambda path: path == disk)
    assert looked_at > 20
    assert planted.search_disk(disk, tmp_path, b"counted $(wc -l")
    assert planted.found == []
    assert programs_of(watch.found) == set()
    assert [name for name in ("packer", "qemu-system-x86_64", "bwrap") if not watch.ran(name)] == []


def test_nothing_is_done_again(built: tuple[Bench, str]) -> None:
    bench, image = built
    assert "nothing to do" in bench.run("build", image, "--format", "vm").text
    planned = {line.partition(":")[0] for line in bench.run("plan", image).text.splitlines()}
    assert f"{image} (VM)" in planned


def test_its_disk_has_what_it_should(built: tuple[Bench, str], tmp_path: Path) -> None:
    bench, image = built
    with open_disk(disk_of(bench, image), tmp_path, Stop()) as disk:
        told = json.loads(disk.read("/etc/imagefactory/release.json"))
        assert told["image"] == image
        assert told["made_of"]["sif"]["digest"] == bench.report(image, "sif")["digest"]
        assert set(disk.links(["/usr/local/bin/count"]).values()) == {"/opt/imagefactory/bin/launch"}
        (sif,) = disk.glob("/opt/imagefactory/apptainer/*/*/*.sif")
        assert disk.entries[sif].size == bench.report(image, "sif")["bytes"]
        assert not disk.glob("*/load/*")
        assert disk.read(f"/usr/share/imagefactory/{image}/lines/lines.txt") == LINES
        assert (
            f"Example data: /usr/share/imagefactory/{image}\n"
            in disk.read("/etc/imagefactory/welcome").decode()
        )
        assert disk.entries["/usr/local/sbin/data-volume"].mode & 0o777 == 0o755
        started = "/usr/lib/systemd/system/multi-user.target.wants/network-shares.service"
        assert disk.links([started]) == {started: "../network-shares.service"}
        owners = {entry.uid for path, entry in disk.entries.items() if path.startswith("/opt/imagefactory")}
        assert owners == {0}


def test_its_raw_form_is_the_same_disk(built: tuple[Bench, str]) -> None:
    bench, image = built
    said = bench.run("raw", image).out
    raw = bench.report(image, "vm")["raw"]
    file = bench.build / image / raw["file"]
    assert said.split()[-1] == raw["digest"] == f"sha256:{file_sha256(file)}"
    assert file.stat().st_blocks * 512 < raw["bytes"] == file.stat().st_size
    subprocess.run(
        ["qemu-img", "compare", "-q", "-f", "raw", "-F", "qcow2", file, disk_of(bench, image)], check=True
    )
    assert "nothing to do" in bench.run("build", image, "--format", "vm").text
    file.unlink()


def test_packer_elsewhere_gets_what_it_needs(built: tuple[Bench, str], tmp_path: Path) -> None:
    bench, image = built
    payload = tmp_path / "payload.tar"
    bench.run("render", image, "--to", str(tmp_path), "--payload", str(payload))
    with tarfile.open(payload) as archive:
        names = archive.getnames()
    assert names[0] == "imagefactory-payload"
    assert "var/lib/imagefactory/load/image.tar" in names
    shutil.rmtree(tmp_path / image / "vm" / "plugins")  # an error in this Packer
    login = {
        "auth_url": "http://127.0.0.1:1/v3",
        "project_name": "x",
        "project_domain_name": "x",
        "user_domain_name": "x",
    }
    clouds = {"clouds": {"here": {"auth": {**login, "username": "x", "password": "x"}}}}
    (tmp_path / "clouds.yaml").write_text(json.dumps(clouds))
    given = {"payload": payload, "base": "b", "cloud": "here", "flavor": "f", "network": "n"}
    words = [f"-var={name}={value}" for name, value in given.items()]
    done = subprocess.run(
        ["packer", "validate", "-only=openstack.vm", *words, str(tmp_path / image / "vm")],
        env={**os.environ, "OS_CLIENT_CONFIG_FILE": str(tmp_path / "clouds.yaml")},
        capture_output=True,
        text=True,
    )
    # It asks the cloud even for that, and would say beside it what it does not understand.
    assert "1 error(s)" in done.stdout, done.stdout + done.stderr
    assert "127.0.0.1:1/v3/auth/tokens" in done.stdout
    formatted = subprocess.run(["packer", "fmt", "-check", str(tmp_path / image / "vm")])
    assert formatted.returncode == 0


@pytest.mark.long
def test_a_person_types_the_command(built: tuple[Bench, str], tmp_path: Path) -> None:
    bench, image = built
    options = BootOptions(seed=Seed(hostname="first"), memory=2 << 30, grow_to=12 << 30)
    with boot(disk_of(bench, image), options, tmp_path, Stop()) as guest:
        guest.wait_for_ssh(SSH_SECONDS)
        for engine in ("docker", "apptainer"):
            counts(guest, engine)
        done = guest.run("imagefactory-selftest", timeout=900)
        assert done.output.splitlines()[-1] == "2 of 2 tests passed"
        assert "lines is 3, expected 3 to 3" in done.output
        assert guest.run("count /etc/hosts", timeout=300).status == 127 or "counted" in done.output


def counts(guest: Guest, engine: str) -> None:
    """On files of one's own, as oneself."""
    done = guest.run(
        f"mkdir -p ~/data && cd ~/data && seq 5 >five && IMAGEFACTORY_ENGINE={engine} count five >said; "
        "cat said; stat -c %U said",
        timeout=600,
    )
    assert done.output.splitlines() == ["counted 5 lines as 1000", "debian"], (engine, done.output)
