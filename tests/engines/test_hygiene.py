"""What a project image's disk must not hold: each check finds what is planted for it, and nothing else."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from imagefactory.guest import open_disk
from imagefactory.system.processes import Stop
from imagefactory.targets.vm.hygiene import CHECKS, enabled, more_services

OFFSET = 2048 * 512
TABLE = "label: gpt\n1: start=2048, size=49152, type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709\n"
WANTS = "etc/systemd/system/multi-user.target.wants"
Defect = Callable[[Path], object]


def write(path: str, text: str = "x") -> Defect:
    def plant(tree: Path) -> None:
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).unlink(missing_ok=True)
        (tree / path).write_text(text)

    return plant


def link(path: str, to: str) -> Defect:
    def plant(tree: Path) -> None:
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).unlink(missing_ok=True)
        (tree / path).symlink_to(to)

    return plant


DEFECTS: list[tuple[str, Defect]] = [
    ("no-host-keys", write("etc/ssh/ssh_host_ed25519_key")),
    ("no-host-keys", write("etc/xrdp/imagefactory/key.pem")),
    ("no-host-keys", write("etc/ssl/private/ssl-cert-snakeoil.key")),
    ("no-machine-id", write("etc/machine-id", "616d3c4aa3d44d6e9d588c6a67dd76ae\n")),
    ("no-machine-id", lambda tree: (tree / "etc/machine-id").unlink()),
    ("no-machine-id", write("var/lib/systemd/random-seed")),
    ("no-cloud-state", write("var/lib/cloud/instance/boot-finished")),
    ("resolver", write("etc/netplan/50-cloud-init.yaml")),
    ("resolver", link("etc/resolv.conf", "/etc/resolv.conf.mine")),
    ("no-logs", write("var/log/journal/abc/system.journal")),
    ("no-logs", write("var/lib/systemd/coredump/core.bet")),
    ("no-keys", write("home/debian/.ssh/authorized_keys")),
    ("no-keys", write("root/.ssh/id_ed25519")),
    ("no-histories", write("root/.bash_history")),
    ("no-histories", write("home/debian/.python_history")),
    ("no-apt-lists", write("var/lib/apt/lists/deb.example.org_InRelease")),
    ("no-apt-lists", write("var/cache/apt/archives/hello_1_all.deb")),
    ("no-leftovers", write("tmp/script_1234.sh")),
    ("no-leftovers", write("var/lib/imagefactory/load/image.tar")),
    ("no-passwords-on-disk", write("etc/shadow", "root:*:1::::::\ndebian:$6$abc:1::::::\n")),
    ("no-passwords-on-disk", write("etc/shadow", "root::1::::::\n")),
]


def disk_of(folder: Path, plant: Defect = lambda tree: None) -> Path:
    """A disk as it should be, but for what is planted."""
    tree = folder / "tree"
    for path in ("etc", "tmp", "var/log/apt", "var/lib/apt/lists/partial", "home/debian", "root"):
        (tree / path).mkdir(parents=True)
    (tree / "etc/machine-id").touch()
    (tree / "etc/shadow").write_text("root:*:1::::::\ndebian:!:1::::::\n")
    link("etc/resolv.conf", "../run/systemd/resolve/stub-resolv.conf")(tree)
    link(f"{WANTS}/ssh.service", "/usr/lib/systemd/system/ssh.service")(tree)
    plant(tree)
    raw = folder / "disk"
    with raw.open("wb") as out:
        out.truncate(32 << 20)
    subprocess.run(["sfdisk", "--quiet", raw], input=TABLE, text=True, check=True)
    place = f"offset={OFFSET},root_owner=0:0"
    subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", "-d", tree, "-E", place, raw, "24m"], check=True)
    return raw


def found(raw: Path, scratch: Path) -> dict[str, str]:
    with open_disk(raw, scratch, Stop()) as disk:
        said = {name: check(disk) for name, check in CHECKS.items()}
        said["no-more-services"] = more_services(disk, {"ssh.service"})
    return {name: words for name, words in said.items() if words}


def test_a_disk_as_it_should_be(tmp_path: Path) -> None:
    raw = disk_of(tmp_path)
    assert found(raw, tmp_path) == {}
    with open_disk(raw, tmp_path, Stop()) as disk:
        assert enabled(disk) == {"ssh.service"}


@pytest.mark.parametrize(("check", "plant"), DEFECTS)
def test_a_planted_defect_is_found(check: str, plant: Defect, tmp_path: Path) -> None:
    assert found(disk_of(tmp_path, plant), tmp_path).keys() == {check}


def test_a_service_that_nobody_listed(tmp_path: Path) -> None:
    raw = disk_of(tmp_path, link(f"{WANTS}/telnet.socket", "/usr/lib/systemd/system/telnet.socket"))
    assert found(raw, tmp_path) == {
        "no-more-services": "enabled beside those of the VM base: 'telnet.socket'"
    }


def test_what_was_deleted_and_not_trimmed(tmp_path: Path) -> None:
    raw = disk_of(tmp_path, lambda tree: (tree / "old").write_bytes(os.urandom(4 << 20)))
    words = ["debugfs", "-w", "-R", "rm /old", f"{raw}?offset={OFFSET}"]
    subprocess.run(words, check=True, capture_output=True)
    assert found(raw, tmp_path).keys() == {"free-space-trimmed"}


def test_every_check_has_a_defect() -> None:
    planted = {check for check, _ in DEFECTS} | {"free-space-trimmed"}
    assert planted == CHECKS.keys()
