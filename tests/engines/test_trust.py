"""What comes from outside runs with nothing of this machine in reach: docs/explanation/trust.md, line by
line.

Every test plants canaries, has something from outside try all that it can, and finds that none sang.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import struct
import tarfile
from pathlib import Path
from typing import Any

import pytest

from imagefactory.definitions.bases import host_platform
from imagefactory.errors import BuildFailed
from imagefactory.guest import open_disk
from imagefactory.inputs.debian import archives, default_sources, lock_base
from imagefactory.inputs.git import tree_archive
from imagefactory.inputs.kinds import KINDS
from imagefactory.inputs.machine import lock_machine
from imagefactory.inputs.protocol import Means, Origin, Wanted
from imagefactory.inputs.uv import Request, resolve
from imagefactory.inputs.wheels import Interpreter
from imagefactory.model.recipe import BaseImage, Conda, Inputs, Release
from imagefactory.model.settings import SiteFile
from imagefactory.model.spec import BaseDefinition, BaseSpec
from imagefactory.sandbox import Errand, run_errand
from imagefactory.system.processes import Stop
from imagefactory.system.site import Site
from imagefactory.system.store import Store
from imagefactory.system.web import Web
from imagefactory.targets.base.ask import Layout, ask_base
from imagefactory.targets.base.bootstrap import make_base
from imagefactory.targets.vm import packer
from imagefactory.targets.vm.make import taken
from imagefactory.targets.vmbase.make import make_disk
from tests.engines.bench import Bench
from tests.engines.kit_tools import missing
from tests.engines.probe import Canaries, assert_outsider
from tests.unit.samples import base_lock, definition, image
from tests.upstreams.channel import Package, make_channel
from tests.upstreams.hostile import hostile_repository, hostile_sdist, make_archive, make_deb
from tests.upstreams.index import make_index, make_sdist
from tests.upstreams.server import Upstream

_PROBES = """
variable "payload" { type = string }
variable "seed" { type = string }
source "null" "vm" { communicator = "none" }
build {
  sources = ["source.null.vm"]
  provisioner "shell-local" { inline = ["sh ${var.seed}"] }
}
"""
PYTHON = Interpreter((3, 11), (2, 36), "x86_64")


class Heard:
    """A log that keeps what it hears."""

    id, path = "it", Path("lock.log")

    def __init__(self) -> None:
        self.tail: list[str] = []

    def line(self, text: str) -> None:
        self.tail.append(text)

    def step(self, *words: object) -> None:
        """Let it pass."""

    phase = step_done = step

    @property
    def text(self) -> str:
        return "\n".join(self.tail)


def means_of(folder: Path, index: str | None = None, **settings: Any) -> tuple[Means, Heard]:
    """Means with a store and a scratch folder of their own."""
    site = Site(SiteFile.model_validate(settings), store=folder / "store", python_index=index)
    stop, log, scratch = Stop(), Heard(), folder / "scratch"
    scratch.mkdir()
    quiet: Any = log
    return Means(site, Store(site.store), Web(site, stop), quiet, stop, scratch, host_platform()), log


@pytest.fixture
def probed(cage: Canaries, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every errand of a resolver begins with the probe: what it can reach, whatever makes it run can."""

    def run(errand: Errand, *words: Any) -> int:
        return run_errand(dataclasses.replace(errand, script=f"(\n{cage.script}\n)\n{errand.script}"), *words)

    monkeypatch.setattr("imagefactory.inputs.asking.run_errand", run)


@pytest.mark.parametrize(
    "old", [pytest.param(True, id="setup.py"), pytest.param(False, id="backend", marks=pytest.mark.long)]
)
def test_a_python_package_that_is_built_to_be_asked(
    bench: Bench, cage: Canaries, tmp_path: Path, old: bool
) -> None:
    """The whole command, with all that its caller has."""
    with Upstream(tmp_path / "up") as up:
        for fails in (True, False):
            make_index(tmp_path / "up" / "simple", [hostile_sdist(cage.script, old=old, fails=fails)])
            bench.environment = {**cage.environment, "HOME": str(cage.file.parent)}
            (bench.root / "site.yaml").write_text(
                json.dumps({"mirrors": {"https://wheels.example.org": up.url}})
            )
            index = {"url": "https://wheels.example.org/simple", "packages": ["zz-hostile"]}
            pip = {"packages": ["zz-hostile"], "indexes": {"ours": index}}
            name = bench.recipe(f"hostile-{'old' if old else 'new'}", inputs={"pip": pip})
            ended = bench.run("lock", name, status=1 if fails else 0)
            if fails:
                # uv marks what a build wrote.
                said = (bench.build / name / "lock.log").read_text()
                assert_outsider("\n".join(line.strip() for line in said.splitlines()))
                assert "that is all" in ended.text
        lock = (bench.folder(name) / "lock.yaml").read_text()
    assert (
        hashlib.sha256((tmp_path / "up/simple/zz-hostile/zz_hostile-1.0.tar.gz").read_bytes()).hexdigest()
        in lock
    )
    assert sorted(path.name for path in cage.file.parent.iterdir()) == [
        "key",
        "nest",
    ]  # no cache in that home
    assert cage.song not in ended.text


def test_what_is_built_cannot_say_what_an_index_has(tmp_path: Path) -> None:
    """It may write uv's answer, and can name only what the index has, with the digest that the index
    gives.
    """
    evil = hostile_sdist("", forges=True)
    make_index(tmp_path / "up" / "simple", [evil])
    with Upstream(tmp_path / "up") as up:
        means, _ = means_of(tmp_path, f"{up.url}/simple")
        (found,) = resolve(Request(["zz-hostile"], PYTHON), "it", means)
    assert found.sha256 == hashlib.sha256(evil.data).hexdigest()


def test_uv_s_surroundings(tmp_path: Path, probed: None) -> None:
    make_index(tmp_path / "up" / "simple", [make_sdist("zz-app", "1.0", {"zz.py": ""}, ())])
    with Upstream(tmp_path / "up") as up:
        means, log = means_of(tmp_path, f"{up.url}/simple")
        resolve(Request(["zz-app"], PYTHON), "it", means)
    assert_outsider(log.text)


def test_conda_packages_are_read_and_not_run(tmp_path: Path, probed: None, cage: Canaries) -> None:
    """Scripts of packages, and what they say of others, are for the image alone."""
    egg = cage.folder / "egg"
    script = f"#!/bin/sh\ntouch {egg}\n"
    app = Package("app", "1.0", subdir="linux-64", files={"bin/app": script}, post_link=script)
    make_channel(tmp_path / "up" / "lab", [app])
    means, log = means_of(tmp_path, mirrors={"https://conda.example.org": (tmp_path / "up").as_uri()})
    inputs = Inputs(conda=Conda(channels=("https://conda.example.org/lab",), packages=("app",)))
    wanted: Any = Wanted(image(inputs=inputs), definition(), base_lock(), None, None, {})  # type: ignore[arg-type]
    (found,) = KINDS["conda"].lock(wanted, means)["image"]
    assert (found.name, found.version) == ("app", "1.0")
    assert_outsider(log.text)


@pytest.mark.parametrize("way", ["http", "plain files", "folder"])
def test_a_repository_is_read_and_not_obeyed(tmp_path: Path, cage: Canaries, way: str, probed: None) -> None:
    folder = tmp_path / "up" / "app.git"
    commit = hostile_repository(folder, f": >{cage.folder}/egg\n")
    means, log = means_of(tmp_path)
    target = tmp_path / "tree.tar"
    with Upstream(tmp_path / "up", smart_git=way == "http") as up:
        address = folder.as_uri() if way == "folder" else f"{up.url}/app.git"
        tree_archive("https://git.example.org/app.git", address, commit, "it", target, means)
    with tarfile.open(target) as tree:
        found = {member.name: member for member in tree}
        assert sorted(found) == [".gitattributes", ".gitmodules", "a.txt", "run.sh"]
        text = tree.extractfile("a.txt")
        assert text
        assert text.read() == b"$Format:%H$\n"
    assert_outsider(log.text)
    assert not list(means.scratch.iterdir())


@pytest.mark.skipif(host_platform() != "linux/amd64", reason="the archive of this test is for amd64")
def test_maintainer_scripts_of_a_base_image(tmp_path: Path, cage: Canaries, probed: None) -> None:
    """When it is locked, with packages as an archive gives them, and when it is made."""
    make_archive(tmp_path / "archive", "bookworm-security", make_deb(tmp_path, "zz-canary", cage.script))
    places = archives(default_sources(Release("debian", "bookworm")))
    stand_in = {"url": (tmp_path / "archive").as_uri()}
    means, log = means_of(tmp_path, stand_ins={places["debian-security"]: stand_in})
    base = BaseImage.model_validate(
        {
            "name": "canary",
            "title": "A base image with a canary",
            "distribution": "debian",
            "suite": "bookworm",
            "published": "debian:12-slim",
            "packages": ("zz-canary",),
        }
    )
    defined = BaseDefinition(base, host_platform(), 1_700_000_000)
    lock = lock_base(base, "0" * 64, means)
    assert [file.stand_in for file in lock.image.apt if file.name == "zz-canary"] == [True]
    assert_outsider(log.text)
    for file in lock.image.apt:
        KINDS["apt"].fetch(file, file.name, Origin(defined, base_lock=lock), means)
    artifact = make_base(BaseSpec(defined, lock), tmp_path / "layout", means)
    assert_outsider(read_layer(tmp_path / "layout", artifact.digest, "etc/canary-report"))


@pytest.mark.skipif(host_platform() != "linux/amd64", reason="the archive of this test is for amd64")
def test_maintainer_scripts_of_a_vm_base(tmp_path: Path, cage: Canaries, probed: None) -> None:
    """When it is locked, and made. Here it has no kernel, only what writes the disk."""
    make_archive(tmp_path / "archive", "bookworm-security", make_deb(tmp_path, "zz-canary", cage.script))
    places = archives(default_sources(Release("debian", "bookworm")))
    stand_in = {"url": (tmp_path / "archive").as_uri()}
    means, log = means_of(tmp_path, stand_ins={places["debian-security"]: stand_in})
    writers = "e2fsprogs fdisk dosfstools mtools grub-common grub-pc-bin grub-efi-amd64-bin python3-minimal"
    base = BaseImage.model_validate(
        {
            "name": "canary-vm",
            "title": "A VM base with a canary",
            "distribution": "debian",
            "suite": "bookworm",
            "packages": ("zz-canary", "systemd", *writers.split()),
            "machine": {"user": "debian"},
        }
    )
    defined = BaseDefinition(base, host_platform(), 1_700_000_000)
    lock = lock_machine(base, "0" * 64, means)
    assert [file.stand_in for file in lock.image.apt if file.name == "zz-canary"] == [True]
    assert_outsider(log.text)
    for file in lock.image.apt:
        KINDS["apt"].fetch(file, file.name, Origin(defined, base_lock=lock), means)
    make_disk(BaseSpec(defined, lock), tmp_path / "disk.qcow2", means)
    with open_disk(tmp_path / "disk.qcow2", tmp_path, means.stop) as disk:
        assert_outsider(disk.read("/etc/canary-report").decode())


def read_layer(layout: Path, digest: str, path: str) -> str:
    """A file of an OCI layout's one layer."""
    manifest = json.loads((layout / "blobs" / digest.replace(":", "/")).read_bytes())
    (layer,) = manifest["layers"]
    with tarfile.open(layout / "blobs" / layer["digest"].replace(":", "/")) as tree:
        content = tree.extractfile(path)
        assert content
        return content.read().decode()


def test_packer_while_it_builds(tmp_path: Path, cage: Canaries) -> None:
    """QEMU is started by it, in the same place, and a machine's root may have come to be QEMU."""
    if shutil.which("packer") is None:
        missing("Packer is not installed: run ci/setup vm")
    (folder := tmp_path / "template").mkdir()
    (folder / "probe.sh").write_text(
        f"{cage.script}\n(: >/in/payload) 2>/dev/null || echo kept\ncat /in/payload"
    )
    (folder / "probe.pkr.hcl").write_text(_PROBES)
    (payload := tmp_path / "payload.tar").write_text("what goes in\n")
    payload.chmod(0o600)
    log, stop = Heard(), Stop()
    quiet: Any = log
    packer.build(folder, "null.vm", {"seed": "probe.sh"}, {"payload": payload}, tmp_path, quiet, stop)
    assert_outsider(log.text)
    assert "kept" in log.text
    assert "what goes in" in log.text
    assert payload.read_text() == "what goes in\n"


def test_what_was_left_where_a_disk_should_be(tmp_path: Path) -> None:
    """Whoever is QEMU writes there what it likes: the names of our own files, for one."""
    (mine := tmp_path / "mine").write_bytes(b"QFI\xfb" + bytes(508))
    (written := tmp_path / "image.qcow2").symlink_to(mine)
    with pytest.raises(BuildFailed, match="is no file of its own"):
        taken(written, tmp_path / "taken")
    written.unlink()
    written.hardlink_to(mine)
    with pytest.raises(BuildFailed, match="is no file of its own"):
        taken(written, tmp_path / "taken")
    written.unlink()
    (theirs := tmp_path / "theirs").mkdir()
    (theirs / "image.qcow2").write_bytes(b"QFI\xfb" + bytes(508))
    (tmp_path / "output").symlink_to(theirs)
    with pytest.raises(BuildFailed, match="is no file of its own"):
        taken(tmp_path / "output" / "image.qcow2", tmp_path / "taken")
    assert (theirs / "image.qcow2").is_file()
    header = struct.pack(">4sIQIIQ", b"QFI\xfb", 2, 80, 11, 16, 1 << 30)
    written.write_bytes(header.ljust(80, b"\0") + b"/etc/shadow".ljust(432, b"\0"))
    with pytest.raises(BuildFailed, match="names another file"):
        taken(written, tmp_path / "taken")


def test_a_question_to_a_base_image(first: Bench, tmp_path: Path, cage: Canaries) -> None:
    """An image of a registry may have another apt, and another shell, than it seems."""
    means, _ = means_of(tmp_path)
    layout = first.build / "debian-12" / "layout"
    digest = json.loads((layout / "index.json").read_text())["manifests"][0]["digest"]
    script = f"{cage.script}\nln -s /etc/passwd answer/link; mkfifo answer/pipe; mkdir answer/folder"
    files = {"ask.sh": f"({script}) >answer/said 2>&1; ls -A / >answer/root\n".encode(), "apt.conf": b""}
    answer = ask_base(Layout("debian-12", layout, digest, 0), files, None, means)
    assert sorted(answer) == ["root", "said"]
    assert_outsider(answer["said"].decode())
    assert not {"in", "job"} & set(answer["root"].decode().split())


def test_a_recipe_and_its_tests(bench: Bench, cage: Canaries) -> None:
    """install.sh as root of a container without network; its tests as nobody, in Docker and as a SIF file."""
    command = "sh /tests/probe.sh >said 2>&1; cat said; ! grep 'it sang' said"
    ends = "^the probe has run as [0-9]{4,} of the machine$"
    name = bench.recipe(
        "probes",
        f"(\n{cage.script}\n) >/etc/canary-report 2>&1",
        tests=[
            {"name": "silent", "command": ["sh", "-c", command], "output": [ends]},
            {
                "name": "built",
                "command": ["cat", "/etc/canary-report"],
                "output": ["^the probe has run as 0 of"],
            },
            {"name": "was-silent", "command": ["grep", "it sang", "/etc/canary-report"], "status": 1},
        ],
    )
    (bench.folder(name) / "tests" / "probe.sh").write_text(cage.script)
    bench.environment = {**cage.environment, "HOME": str(cage.file.parent)}
    bench.run("build", name, "--format", "sif", timeout=600)
    for kind in ("oci", "sif"):
        report = bench.report(name, kind)
        assert {test["status"] for test in report["tests"] if test["kind"] == "smoke"} == {"passed"}
    assert cage.song not in bench.log(name)


def test_locking_and_fetching_ask_no_engine(bench: Bench) -> None:
    """Where the base image is made: what may talk to the Docker Engine is root on most machines."""
    name = bench.recipe("apart", inputs={"apt": ["hello"]})
    bench.environment = {"DOCKER_HOST": "unix:///nowhere/docker.sock"}
    for command in ("check", "lock", "fetch", "render", "plan"):
        bench.run(command, name)
    assert bench.run("build", name, status=3).errors == ["error: the Docker Engine does not answer"]
