"""A machine with data volumes, and shares that its metadata name: nobody waits for what is not there."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from imagefactory.guest import BootOptions, Guest, Seed, Volume, boot
from imagefactory.model.recipe import Needs
from imagefactory.system.processes import Stop
from imagefactory.targets.vm.gpu import GPU_LINKS, gpu_files
from imagefactory.targets.vm.volumes import VOLUME_LINKS, volume_files
from tests.engines.conftest import shared_folder
from tests.engines.kit_tools import missing
from tests.engines.machines import SSH_SECONDS
from tests.engines.planting import planted
from tests.engines.vmbase import NEWEST, disk_of
from tests.unit.samples import GPU, image

pytestmark = [pytest.mark.timeout(3600), pytest.mark.long]
UUID = "5a1e9c52-6f0b-4a4e-9d6c-1f6b7d1c0a01"
MIB = 1 << 20
GONE = "10.0.2.99:/gone"
JOURNAL = "journalctl --no-pager --output=cat --unit '{}'"


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A VM base, with the files of a project image that has to do with volumes and GPUs."""
    base = disk_of(NEWEST, shared_folder(tmp_path_factory))
    files = (*volume_files(), *gpu_files(image(needs=Needs(gpu=GPU))))
    return planted(base, files, {**VOLUME_LINKS, **GPU_LINKS}, tmp_path_factory.mktemp("disk"))


def empty(file: Path) -> Path:
    with file.open("xb") as out:
        out.truncate(256 * MIB)
    return file


def options(*volumes: Volume, **properties: str) -> BootOptions:
    return BootOptions(seed=Seed(hostname="data", properties=properties), volumes=volumes)


def said(guest: Guest, unit: str, words: str, seconds: float = 300) -> str:
    """What a unit wrote, as soon as that has these words."""
    until = time.monotonic() + seconds
    while True:
        journal = guest.run(JOURNAL.format(unit), user="root", timeout=120).output
        if words in journal:
            return journal
        assert time.monotonic() < until, journal
        time.sleep(2)


def test_what_is_not_asked_for_is_not_done_and_what_is_not_there_not_waited_for(
    disk: Path, tmp_path: Path, record_testsuite_property: pytest.FixtureRequest
) -> None:
    volume = empty(tmp_path / "volume")
    shares = {"imagefactory_nfs": f"{GONE} -o:/etc", "imagefactory_cvmfs": "software.eessi.io"}
    with boot(disk, options(), tmp_path, Stop()) as guest:
        usual = guest.wait_for_ssh(SSH_SECONDS)
        assert guest.run("systemctl is-active network-shares; ls /data /shares").output.count("No such") == 2
    with boot(disk, options(Volume(volume, UUID[:20]), **shares), tmp_path, Stop()) as guest:
        seconds = guest.wait_for_ssh(SSH_SECONDS)
        record_testsuite_property("ssh, and with a dead NFS server", f"{usual:.0f} s, {seconds:.0f} s")  # type: ignore[operator]
        assert seconds < 1.5 * usual + 20
        assert guest.run("cloud-init status --wait", timeout=SSH_SECONDS).status == 0
        assert guest.run("systemctl is-system-running --wait", timeout=600).output == "running\n"
        journal = said(guest, "network-shares", f"shares: {GONE} is not mounted: ")
        assert "'-o:/etc' is no share of an NFS server" in journal
        assert "software.eessi.io is not mounted: CVMFS's client is not on this machine" in journal
        disk_name = re.findall(
            r"/dev/vd[a-z]", said(guest, "data-volume@*", "is empty: to make a file system on it")
        )
        assert len(set(disk_name)) == 1
        assert "no NVIDIA GPU is in this machine" in said(guest, "imagefactory-gpu", "GPU: ")
        notes = guest.run("cat /run/imagefactory/notes/*").output
        assert [line.split(":")[0] for line in notes.splitlines()] == [
            "GPU",
            GONE.split(":")[0],
            "data volume",
        ]
        guest.powerdown(300)
    assert not any(volume.read_bytes())


def test_a_volume_is_formatted_once_and_stays_what_it_is(disk: Path, tmp_path: Path) -> None:
    first, second = empty(tmp_path / "first"), empty(tmp_path / "second")
    asked = {"imagefactory_volume": UUID, "imagefactory_format": "yes"}
    volumes = (Volume(second), Volume(first, UUID[:20]))
    with boot(disk, options(*volumes, **asked), tmp_path, Stop()) as guest:
        guest.wait_for_ssh(SSH_SECONDS)
        said(guest, "data-volume@*", "is mounted at /data")
        done = guest.run("echo precious >/data/mine && stat -c %U /data/mine && findmnt -no OPTIONS /data")
        assert done.output.startswith("debian\n")
        assert "nosuid,nodev" in done.output
        guest.powerdown(300)
    assert not any(second.read_bytes())
    other = options(Volume(first), imagefactory_format="yes")
    with boot(disk, other, tmp_path, Stop()) as guest:
        guest.wait_for_ssh(SSH_SECONDS)
        journal = said(guest, "data-volume@*", "is mounted at /data")
        assert "making" not in journal
        assert guest.run("cat /data/mine").output == "precious\n"
        guest.powerdown(300)


EXPORTS = """\
NFS_CORE_PARAM {{ Protocols = 4; Bind_addr = 127.0.0.1; Enable_NLM = false; Enable_RQUOTA = false; }}
NFSv4 {{ RecoveryBackend = fs; Graceless = true; RecoveryRoot = "{0}"; }}
EXPORT {{
    Export_Id = 1; Path = "/projects"; Pseudo = "/projects"; Access_Type = RW; Squash = No_Root_Squash;
    Protocols = 4; Transports = TCP; SecType = sys; FSAL {{ Name = MEM; }}
}}
"""


def test_a_share_is_mounted_as_soon_as_its_server_answers(disk: Path, tmp_path: Path) -> None:
    """A real server on this machine, whose files are in memory: Debian's nfs-ganesha-mem."""
    program = shutil.which("ganesha.nfsd")
    if program is None:
        # ci/setup brings none: where systemd runs, its package starts a server for all the world.
        missing("nfs-ganesha and nfs-ganesha-mem are not installed: apt-get install both")
    folder = tmp_path / "server"
    folder.mkdir()
    (folder / "exports").write_text(EXPORTS.format(folder))
    words: list[str | Path] = [program, "-F", "-f", folder / "exports"]
    words += ["-p", folder / "pid", "-L", folder / "log"]
    share = "10.0.2.2:/projects"  # this machine, as QEMU's network has it
    seed = Seed(way="config-drive", hostname="data", properties={"imagefactory_nfs": share})
    of = BootOptions(seed=seed, network="outside")
    with boot(disk, of, tmp_path, Stop()) as guest:
        guest.wait_for_ssh(SSH_SECONDS)
        said(guest, "network-shares", f"{share} is not mounted: ")
        server = subprocess.Popen(words)
        try:
            said(guest, "network-shares", f"{share} is mounted at /shares/projects")
            found = guest.run("findmnt -no FSTYPE,OPTIONS /shares/projects").output
            assert re.match(r"nfs4\s+rw,nosuid,nodev,.*vers=4", found), found
            wrote = guest.run("echo here >/shares/projects/mine && cat /shares/projects/mine", user="root")
            assert wrote.output == "here\n"
            assert not guest.run("cat /run/imagefactory/notes/shares").output.startswith("10.")
            guest.run("umount /shares/projects", user="root")
        finally:
            server.kill()
            server.wait()
