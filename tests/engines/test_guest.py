"""Machines that really boot: what is in reach of them, what they leave, and how they end."""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from imagefactory.errors import BadInput, BuildFailed
from imagefactory.guest import BootOptions, Guest, Seed, boot, open_disk
from imagefactory.system.processes import Stop
from tests.engines.machines import SSH_SECONDS, gone, qemus, sockets

GIB = 1 << 30
pytestmark = [pytest.mark.timeout(1500), pytest.mark.long]


def digest(disk: Path) -> str:
    with disk.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose path is too long for a socket's name."""
    folder = (
        tmp_path_factory.mktemp("guest") / ("a folder with a long name, spaces, %h and ünicode " * 3).strip()
    )
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture(scope="module")
def guest(
    vm_disk: Path, scratch: Path, record_testsuite_property: Callable[[str, str], None]
) -> Iterator[Guest]:
    """One machine for all tests that leave it as it is: NoCloud, a BIOS, a disk that was grown, a screen."""
    before, lines, record = digest(vm_disk), list[str](), record_testsuite_property
    write = {"path": "/etc/told", "content": "a: 'b'\n#cloud-config\n", "permissions": "0600"}
    seed = Seed("nocloud", "grown", {"write_files": [write]})
    options = BootOptions(seed=seed, grow_to=5 * GIB, screen=True)
    with boot(vm_disk, options, scratch, Stop(), lines.append) as made:
        seconds = made.wait_for_ssh(SSH_SECONDS)
        assert made.run(["true"]).status == 0
        record("login", f"{seconds:.1f} s")
        record("first command answered", f"{made.seconds:.1f} s")
        pids = qemus()
        yield made
    assert len(pids) == 1
    assert gone(pids)
    assert lines
    assert all(line.isprintable() or "\t" in line for line in lines)
    assert not list(scratch.iterdir())
    assert digest(vm_disk) == before


def test_the_disk_itself_is_only_read(guest: Guest, vm_disk: Path) -> None:
    (pid,) = qemus()
    opened = [fd for fd in Path(f"/proc/{pid}/fd").iterdir() if fd.resolve() == vm_disk.resolve()]
    assert opened
    for fd in opened:
        flags = Path(f"/proc/{pid}/fdinfo/{fd.name}").read_text().split("flags:")[1].split()[0]
        assert int(flags, 8) & os.O_ACCMODE == os.O_RDONLY
    if os.geteuid() == 0:
        status = Path(f"/proc/{pid}/status").read_text()
        ids = status.split("Uid:")[1].split()[:4]
        assert "0" not in ids
        assert "CapEff:\t0000000000000000" in status
        assert "Seccomp:\t2" in status


def test_commands_run_as_they_were_meant(guest: Guest) -> None:
    words = ["printf", "%s\n", "a  b", "$HOME `id` 'q' \"d\"", "", "*", "ü"]
    done = guest.run(words)
    assert (done.status, done.output.splitlines()) == (0, words[2:])
    assert guest.run("id -un; hostname; exit 3").output.split() == ["debian", "grown"]
    assert guest.run("exit 3").status == 3
    assert guest.run(["id", "-un"], user="root").output == "root\n"
    assert guest.run(["cat"], stdin=b"in\0out\n").output == "in\0out\n"
    assert guest.run("echo on; echo err >&2").output.split() == ["on", "err"]
    # ssh's own status, said by a command.
    done = guest.run("echo it; exit 255")
    assert (done.status, done.output) == (255, "it\n")
    heard: list[str] = []
    guest.run("echo one; echo two", on_line=heard.append)
    assert heard == ["one", "two"]
    done = guest.run("echo begun; sleep 999", timeout=3)
    assert (done.stopped, done.output.split("\n")[0]) == ("time", "begun")
    assert guest.run(["pgrep", "-x", "sleep"]).status == 1  # it has ended there too
    assert guest.run(["no-such-program"]).status == 127
    with pytest.raises(BadInput):
        guest.run(["true"], user="root; id")
    with pytest.raises(BadInput):
        guest.run(["echo", "a\0b"])


def test_files_come_in_and_out(guest: Guest, tmp_path: Path) -> None:
    (tmp_path / "in" / "sub").mkdir(parents=True)
    (tmp_path / "in" / "sub" / "tool").write_text("#!/bin/sh\necho it runs\n")
    (tmp_path / "in" / "sub" / "tool").chmod(0o755)
    (tmp_path / "in" / "big").write_bytes(os.urandom(3 << 20))
    guest.copy_in(tmp_path / "in", "/home/debian/a 'place'")
    assert guest.run(["/home/debian/a 'place'/sub/tool"]).output == "it runs\n"
    guest.copy_in({"etc/x": b"1\n"}, "/root/here", user="root")
    assert guest.run(["stat", "-c", "%U %s", "/root/here/etc/x"], user="root").output == "root 2\n"
    got = guest.copy_out("/home/debian/a 'place'", tmp_path / "out")
    assert sorted(got) == ["a 'place'/big", "a 'place'/sub/tool"]
    assert (tmp_path / "out" / "a 'place'" / "big").read_bytes() == (tmp_path / "in" / "big").read_bytes()
    with pytest.raises(BuildFailed, match="more than 1000 bytes"):
        guest.copy_out("/home/debian/a 'place'/big", tmp_path / "less", limit=1000)
    guest.run("truncate -s 90M /home/debian/huge")
    with pytest.raises(BuildFailed, match="more than 2000 bytes"):
        guest.copy_out("/home/debian/huge", tmp_path / "less", limit=2000)
    assert sum(path.stat().st_size for path in (tmp_path / "less").rglob("*") if path.is_file()) <= 2000
    with pytest.raises(BuildFailed, match="No such file"):
        guest.copy_out("/home/debian/none", tmp_path / "none")
    with pytest.raises(BuildFailed, match="Permission denied"):
        guest.copy_in({"x": b""}, "/root/not")


def test_the_machine_is_as_it_was_asked_for(guest: Guest, tmp_path: Path) -> None:
    assert guest.run("cloud-init status --wait >/dev/null; cloud-id", timeout=300).output == "nocloud\n"
    assert guest.run(["cat", "/etc/told"], user="root").output == "a: 'b'\n#cloud-config\n"
    size = int(guest.run("df -B1 --output=size / | tail -n 1").output)
    assert 4.5 * GIB < size < 5 * GIB
    assert guest.run(["nproc"]).output == "2\n"
    assert guest.run(["test", "-d", "/sys/firmware/efi"]).status == 1
    assert guest.agent_answers(60)
    assert guest.console_has(r"Linux version \d")
    assert "grown login:" in guest.console()
    assert guest.run("grep -c 'sse4_2.*lahf_lm' /proc/cpuinfo").output == "2\n"
    guest.screenshot(tmp_path / "screen.png")
    first = (tmp_path / "screen.png").read_bytes()
    assert first.startswith(b"\x89PNG\r\n\x1a\n")
    assert first.rstrip(b"\0").endswith(b"IEND\xaeB`\x82")
    guest.screenshot(tmp_path / "screen.png")
    assert abs((tmp_path / "screen.png").stat().st_size - len(first)) < 1000


def test_a_machine_reaches_nothing(guest: Guest) -> None:
    """Neither this machine, nor what it reaches."""
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "http.server", "--bind", "127.0.0.1", "0"],
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdout
        port = server.stdout.readline().split("port ")[1].split()[0]
        try:
            script = f"timeout 5 bash -c ': </dev/tcp/10.0.2.2/{port}' && echo reached"
            assert "reached" not in guest.run(script, timeout=30).output
        finally:
            server.terminate()
    assert guest.run("timeout 5 bash -c ': </dev/tcp/127.0.0.1/22' && echo reached").output == "reached\n"
    (pid,) = qemus()
    listening = [line for line in sockets(pid) if " 0A " in line]
    assert len(listening) == 1
    assert listening[0].split()[1].startswith("0100007F:")  # 127.0.0.1


def test_a_reader_sees_what_the_machine_sees(guest: Guest, vm_disk: Path, tmp_path: Path) -> None:
    script = "find /etc /usr/bin -printf '%p\\0%#m\\0%U\\0%G\\0%s\\0%y\\0' | base64 -w0"
    told = guest.run(script, user="root", timeout=120).output
    fields = base64.b64decode(told).decode("utf-8", "surrogateescape").split("\0")[:-1]
    seen = {each[0]: each[1:] for each in zip(*[iter(fields)] * 6, strict=True)}
    with open_disk(vm_disk, tmp_path, Stop()) as disk:
        assert disk.facts.virtual_size > GIB
        assert {each.number for each in disk.partitions} == {1, 14, 15}
        assert disk.space.clean
        compared = [*disk.glob("/usr/bin/*"), *disk.glob("/etc/systemd/*")]
        assert len(compared) > 300
        for path in compared:
            entry, (mode, uid, gid, size, kind) = disk.entries[path], seen[path]
            assert (entry.mode & 0o7777, entry.uid, entry.gid) == (int(mode, 8), int(uid), int(gid)), path
            if kind in "fl":
                assert entry.size == int(size), path
        files = ["/etc/os-release", "/usr/bin/id", "/etc/fstab"]
        files = [path for path in files if disk.entries[path].mode & 0o170000 == 0o100000]
        sums = dict(line.split()[::-1] for line in guest.run(["sha256sum", *files]).output.splitlines())
        for path, data in disk.read_all(files).items():
            assert hashlib.sha256(data).hexdigest() == sums[path]
    assert not list(tmp_path.iterdir())


def test_a_console_is_bounded(guest: Guest, scratch: Path) -> None:
    (log,) = scratch.glob("guest-*/console.log")
    script = "head -c 1300000 /dev/zero | tr '\\0' x | fold -w 1000 >/dev/ttyS0"
    script += "; printf '\\nit\\033[2J ends\\n' >/dev/ttyS0"
    assert guest.run(script, user="root", timeout=300).status == 0
    guest.wait_for_console("^it ends", 60)
    assert log.stat().st_size == 1 << 20
    assert "\x1b" not in guest.console()


def test_a_machine_switches_itself_off(guest: Guest) -> None:
    """The last test of the shared machine."""
    guest.powerdown(300)
    assert gone(qemus())
    with pytest.raises(BuildFailed, match="switched off"):
        guest.run(["true"])
