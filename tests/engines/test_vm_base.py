"""VM bases: made from the store alone, the same twice, without a trace of who made them. They boot."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import pytest

from imagefactory.guest import BootOptions, DiskReader, Guest, Seed, boot, open_disk
from imagefactory.system.processes import Stop
from imagefactory.system.store import file_sha256
from tests.engines.conftest import shared_folder
from tests.engines.machines import SSH_SECONDS
from tests.engines.vmbase import checkout, disk_of, make

GIB = 1 << 30
DESKTOP = "debian-13-desktop-vm"
DEBIANS = [
    "debian-13-vm",
    *(pytest.param(name, marks=pytest.mark.long) for name in ("debian-12-vm", DESKTOP)),
]
pytestmark = [
    pytest.mark.timeout(3600),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can cut the network"),
]

Record = Callable[[str, str], None]


@pytest.fixture(scope="module", params=DEBIANS)
def name(request: pytest.FixtureRequest) -> str:
    base: str = request.param
    return base


@pytest.fixture(scope="module")
def disk(name: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return disk_of(name, shared_folder(tmp_path_factory))


@pytest.fixture(scope="module")
def reader(disk: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DiskReader]:
    with open_disk(disk, tmp_path_factory.mktemp("reader"), Stop()) as opened:
        yield opened


def test_its_partitions(reader: DiskReader, name: str) -> None:
    """As Debian's own images of clouds have them; the root is the last one, so that it can grow."""
    bios, esp, root = reader.partitions
    assert [(each.number, each.type) for each in (bios, esp, root)] == [
        (14, "21686148-6449-6E6F-744E-656564454649"),
        (15, "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"),
        (1, "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709"),
    ]
    assert all(each.start % (1 << 20) == 0 for each in (bios, esp, root))
    assert bios.start + bios.size <= esp.start < esp.start + esp.size <= root.start
    assert reader.facts.virtual_size - (root.start + root.size) <= 1 << 20
    assert reader.space.clean
    assert reader.space.dirty == 0
    if name == "debian-12-vm":  # whose GRUB reads no file system that has these
        assert not {"metadata_csum_seed", "orphan_file"} & set(reader.space.features)


def test_nothing_tells_of_who_made_it(reader: DiskReader) -> None:
    present = {path: entry for path, entry in reader.entries.items() if not stat.S_ISDIR(entry.mode)}
    traces = re.compile(
        r"/etc/ssh/ssh_host_.*|/etc/ssl/private/.*|/etc/xrdp/(.*\.pem|rsakeys\.ini)|/(var/lib/dbus|etc)/machine-id\b.+|/var/lib/systemd/random-seed"
        r"|/(run|tmp|var/tmp|var/log|home|root/\..*|var/lib/cloud|var/lib/apt/lists|var/cache/apt)/.*"
        r"|/var/cache/(ldconfig|debconf/.*-old|man)(/.*)?|/etc/.*-|/var/lib/dpkg/.*-old|/etc/\.pwd\.lock"
        r"|/(root|var/lib/(docker|containerd))/\..*|/dev/.*|.*\.dpkg-(new|tmp|dist)|/etc/apt/sources\.list\.d/.*"
        r"|.*/(\.bash_history|\.wget-hsts|nohup\.out|policy-rc\.d)"
    )
    allowed = {"/root/.bashrc", "/root/.profile", "/var/log/README"}
    found = [path for path in present if traces.fullmatch(path) and path not in allowed]
    assert found == []
    assert reader.read("/etc/machine-id") == b""
    assert reader.read("/etc/hostname") == b"localhost\n"
    assert reader.links(["/etc/resolv.conf"]) == {
        "/etc/resolv.conf": "../run/systemd/resolve/stub-resolv.conf"
    }
    sources = reader.read("/etc/apt/sources.list").decode()
    assert "repository" not in sources
    assert re.search(r"^deb \S+/debian \w+ main$", sources, re.MULTILINE)
    for path in ("/etc/passwd", "/etc/group"):
        assert b"pytest" not in reader.read(path)


def test_nobody_can_log_in_before_a_cloud_says_who(reader: DiskReader) -> None:
    lines = [line.split(":") for line in reader.read("/etc/shadow").decode().splitlines()]
    assert {fields[1] for fields in lines} <= {"*", "!", "!*", "!!"}
    users = [line.split(":") for line in reader.read("/etc/passwd").decode().splitlines()]
    assert [fields[0] for fields in users if int(fields[2]) >= 1000] == ["nobody"]
    assert not reader.glob("/*/authorized_keys")
    said = reader.read("/etc/ssh/sshd_config.d/60-imagefactory.conf").decode()
    assert "PasswordAuthentication no\n" in said
    assert "PermitRootLogin no\n" in said


def test_whose_its_files_are(reader: DiskReader) -> None:
    kinds = {stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK}
    odd = [path for path, entry in reader.entries.items() if stat.S_IFMT(entry.mode) not in kinds]
    assert odd == []  # no device, no socket, no pipe
    assert {entry.uid for entry in reader.entries.values()} <= {*range(1000), 65534}
    files = {p: e for p, e in reader.entries.items() if not stat.S_ISLNK(e.mode)}
    assert {
        path for path, entry in files.items() if entry.mode & 0o002 and not entry.mode & stat.S_ISVTX
    } == set()
    setuid = {path.rpartition("/")[2] for path, entry in files.items() if entry.mode & stat.S_ISUID}
    assert setuid <= {
        *("chfn", "chsh", "gpasswd", "mount", "newgrp", "passwd", "su", "umount"),  # login and mounting
        *("sudo", "newgidmap", "newuidmap", "fusermount3", "mount.nfs", "ssh-keysign"),
        *("dbus-daemon-launch-helper", "polkit-agent-helper-1"),
    }


def test_what_is_in_it(reader: DiskReader, name: str) -> None:
    status = reader.read("/var/lib/dpkg/status", 16 << 20).decode()
    packages = dict(re.findall(r"^Package: (\S+)$(?:\n.+)*?\nVersion: (\S+)$", status, re.MULTILINE))
    assert "install ok installed" in status
    assert not re.search(r"^Status: (?!install ok installed)", status, re.MULTILINE)
    assert {
        "docker.io",
        "apptainer",
        "cloud-init",
        "openssh-server",
        "unattended-upgrades",
    } <= packages.keys()
    assert int(packages["docker.io"].partition(".")[0]) >= 26
    assert reader.exists("/usr/bin/docker")
    assert reader.exists("/usr/bin/apptainer")
    assert "patchelf" not in packages
    assert not reader.glob("*/patchelf*")
    if name == "debian-12-vm":
        assert packages["libc6"].startswith("2.36-")
        assert packages["apptainer"].endswith("+imagefactory1")
        assert reader.exists("/usr/lib/apptainer/private/libc.so.6")
        assert not reader.glob("/run/*")
    states = reader.read("/var/lib/apt/extended_states").decode()
    automatic = set(re.findall(r"^Package: (\S+)\n(?:.+\n)*?Auto-Installed: 1$", states, re.MULTILINE))
    assert "libssl3" in automatic or "libssl3t64" in automatic
    assert not {"docker.io", "apptainer", "nano", "linux-image-cloud-amd64", "apt"} & automatic


@pytest.mark.long
def test_the_same_is_made_twice(disk: Path, name: str, tmp_path: Path) -> None:
    """Elsewhere, by somebody with other settings."""
    file = f"{name}.lock.yaml"
    beside = disk.with_name(file)
    lock = beside if beside.exists() else disk.parents[2] / "base_images" / file
    bench = checkout(tmp_path / "another place", name, lock)
    bench.environment = {"TZ": "Pacific/Chatham", "LANG": "tr_TR.UTF-8", "HOME": str(tmp_path)}
    before = os.umask(0o077)
    try:
        other = make(bench, name)
    finally:
        os.umask(before)
    assert file_sha256(other) == file_sha256(disk)


@pytest.fixture(scope="module")
def known() -> dict[str, str]:
    """What each booted machine made for itself, by the machine."""
    return {}


@pytest.mark.long  # test_vm boots a project image of it in every run
@pytest.mark.parametrize("firmware", ["bios", "uefi"])
def test_it_boots(
    disk: Path,
    name: str,
    firmware: Literal["bios", "uefi"],
    known: dict[str, str],
    tmp_path: Path,
    record_testsuite_property: Record,
) -> None:
    options = BootOptions(seed=Seed(hostname="first"), firmware=firmware, grow_to=6 * GIB)
    with boot(disk, options, tmp_path, Stop()) as guest:
        guest.wait_for_ssh(SSH_SECONDS)
        assert guest.run(["true"]).status == 0
        record_testsuite_property(f"{name} {firmware}: first command", f"{guest.seconds:.1f} s")
        is_itself(guest, firmware, known)
        is_whole(guest)
        is_closed(guest, {"22", "3389"} if name == DESKTOP else {"22"})
        runs_applications(guest)
        guest.powerdown(300)


def is_itself(guest: Guest, firmware: str, known: dict[str, str]) -> None:
    """It has names and keys of its own, on a disk that has grown."""
    done = guest.run("cloud-init status --wait", timeout=SSH_SECONDS)
    assert (done.status, done.output.split()[-1]) == (0, "done")
    assert guest.run("hostname").output == "first\n"
    assert guest.run("test -d /sys/firmware/efi").status == (0 if firmware == "uefi" else 1)
    assert guest.console_has(r"Linux version \d")
    id = guest.run("cat /etc/machine-id").output.strip()
    keys = guest.run("cat /etc/ssh/ssh_host_*_key.pub").output.splitlines()
    assert re.fullmatch(r"[0-9a-f]{32}", id)
    assert {key.split()[0] for key in keys} == {"ssh-ed25519", "ecdsa-sha2-nistp256"}
    made = {id, *(key.split()[1] for key in keys)}
    assert not made & known.keys()
    known.update(dict.fromkeys(made, firmware))
    assert int(guest.run("df -B1 --output=size / | tail -n 1").output) > 5 * GIB
    assert guest.agent_answers(60)


def is_whole(guest: Guest) -> None:
    """Nothing failed, and it keeps its packages up to date by itself."""
    done = guest.run(
        "systemctl is-system-running --wait; systemctl --failed --plain --no-legend", timeout=600
    )
    assert done.output == "running\n"
    units = "unattended-upgrades apt-daily.timer apt-daily-upgrade.timer systemd-timesyncd fstrim.timer"
    assert guest.run(f"systemctl is-enabled {units}").output.split() == ["enabled"] * 5
    assert guest.run("systemctl is-active systemd-timesyncd ssh docker").output.split() == ["active"] * 3
    for command in ("dpkg --audit", "cloud-init query --format '{{ds}}' >/dev/null"):
        assert guest.run(command, user="root", timeout=120).output == ""
    done = guest.run("apt-get -qq check && apt-get -qq --simulate autoremove", user="root", timeout=300)
    assert (done.status, done.output) == (0, "")
    assert guest.run("sshd -t && ! grep -r . /etc/cloud/cloud-init.disabled", user="root").status == 0


def is_closed(guest: Guest, expected: set[str]) -> None:
    """Nothing listens but ssh, and remote desktop on a desktop, to whoever is not in the machine."""
    lines = guest.run("ss -Htuln", timeout=120).output.splitlines()
    places = {(line.split()[0], *line.split()[4].rsplit(":", 1)) for line in lines}
    inside = ("127.", "[::1]")
    outside = {(kind, port) for kind, address, port in places if not address.startswith(inside)}
    answers_of_dhcp = {("udp", "68"), ("udp", "546")}
    assert outside - answers_of_dhcp == {("tcp", port) for port in expected}
    assert guest.run("sshd -T | grep -i '^passwordauthentication'", user="root").output.split()[1] == "no"


# A root file system with a shell in it, of the machine's own.
_TINY = """\
set -eu
mkdir -p tiny/bin tiny/lib64 tiny/tmp tiny/proc tiny/sys tiny/dev tiny/etc tiny/root tiny/home tiny/var/tmp
cp /bin/dash tiny/bin/sh
for file in $(ldd /bin/dash | grep -o '/[^ ]*'); do
    mkdir -p "tiny${file%/*}"
    cp -L "$file" "tiny$file"
done
"""


def runs_applications(guest: Guest) -> None:
    """Docker and Apptainer, for its user."""
    says = "/bin/sh -c 'echo it runs'"
    assert guest.run(_TINY).status == 0
    done = guest.run(
        f"tar -C tiny -c . | docker import - tiny && docker run --rm --network=none tiny {says}",
        timeout=600,
    )
    assert done.output.splitlines()[1:] == ["it runs"], done.output
    assert guest.run("docker info --format '{{.Driver}}'", timeout=120).output == "overlayfs\n"
    for user in ("", "root", "nobody"):
        done = guest.run(["apptainer", "--version"], user=user, timeout=120)
        assert re.fullmatch(r"apptainer version 1\.\S+\n", done.output), (user, done.output)
    done = guest.run("apptainer -s build tiny.sif tiny && apptainer -s exec tiny.sif " + says, timeout=600)
    assert (done.status, done.output.splitlines()[-1:]) == (0, ["it runs"]), done.output


@pytest.mark.long
def test_it_boots_without_a_network(
    disk: Path, tmp_path: Path, record_testsuite_property: Record, name: str
) -> None:
    with boot(disk, BootOptions(network="none"), tmp_path, Stop()) as guest:
        seconds = guest.wait_for_console(r"guest login:", SSH_SECONDS)
        record_testsuite_property(f"{name} without a network: login", f"{seconds:.1f} s")
        guest.powerdown(300)
