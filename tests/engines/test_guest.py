"""Machines that really boot: what is in reach of them, what they leave, and how they end."""

from __future__ import annotations

import base64
import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from imagefactory.errors import BadInput, BuildFailed, DiskFull, EngineError, Interrupted
from imagefactory.guest import BootOptions, Guest, Seed, accelerator, boot, engine_versions, open_disk
from imagefactory.system.processes import Stop
from tests.engines.vmdisk import ODD, PLANTED

SSH_SECONDS = 600
"""A machine that is emulated takes a minute where nothing else runs, and more where something does."""

GIB = 1 << 30
pytestmark = pytest.mark.timeout(1500)


def digest(disk: Path) -> str:
    with disk.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def qemus(pid: int = 0) -> list[int]:
    """The machines that run below a process, or below this one."""
    parents, found = dict[int, int](), list[int]()
    for place in Path("/proc").iterdir():
        if place.name.isdigit():
            try:
                stat = (place / "stat").read_text()
            except OSError:
                continue
            comm, _, rest = stat.partition("(")[2].rpartition(")")
            parents[int(place.name)] = int(rest.split()[1])
            if comm.startswith("qemu-system") and rest.split()[0] != "Z":
                found.append(int(place.name))

    def below(each: int) -> bool:
        while each not in (0, pid or os.getpid()):
            each = parents.get(each, 0)
        return each != 0

    return [each for each in found if below(each)]


def gone(pids: list[int], seconds: float = 10) -> bool:
    until = time.monotonic() + seconds
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        if time.monotonic() > until:
            return False
        time.sleep(0.1)
    return True


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
        yield made
        pids = qemus()
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


def sockets(pid: int) -> list[str]:
    """The lines of /proc/net/tcp and tcp6 that are a process's."""
    own = {str(fd.readlink()) for fd in Path(f"/proc/{pid}/fd").iterdir()}
    lines = [
        line for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
    ]
    return [line for line in lines if f"socket:[{line.split()[9]}]" in own]


def test_a_reader_sees_what_the_machine_sees(guest: Guest, vm_disk: Path, tmp_path: Path) -> None:
    script = "find /etc /usr/bin /srv -printf '%p\\0%#m\\0%U\\0%G\\0%s\\0%y\\0' | base64 -w0"
    told = guest.run(script, user="root", timeout=120).output
    fields = base64.b64decode(told).decode("utf-8", "surrogateescape").split("\0")[:-1]
    seen = {each[0]: each[1:] for each in zip(*[iter(fields)] * 6, strict=True)}
    with open_disk(vm_disk, tmp_path, Stop()) as disk:
        assert disk.facts.virtual_size == 2 * GIB
        assert {each.number for each in disk.partitions} == {1, 14, 15}
        assert disk.space.clean
        planted = disk.glob(f"/{PLANTED}/*")
        assert f"/{PLANTED}/{ODD}" in planted
        compared = [*planted, *disk.glob("/usr/bin/*"), *disk.glob("/etc/systemd/*")]
        assert len(compared) > 300
        for path in compared:
            entry, (mode, uid, gid, size, kind) = disk.entries[path], seen[path]
            assert (entry.mode & 0o7777, entry.uid, entry.gid) == (int(mode, 8), int(uid), int(gid)), path
            if kind in "fl":
                assert entry.size == int(size), path
        assert disk.read(f"/{PLANTED}/{ODD}") == b"odd\0\xff\n"
        assert disk.links([f"/{PLANTED}/link"]) == {f"/{PLANTED}/link": ODD}
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


def test_a_config_drive_and_uefi(vm_disk: Path, tmp_path: Path) -> None:
    stop = Stop()
    seed = Seed("config-drive", "driven", {"runcmd": [["touch", "/run/told"]]})
    with boot(vm_disk, BootOptions(seed=seed, firmware="uefi"), tmp_path, stop) as guest:
        guest.wait_for_ssh(SSH_SECONDS)
        done = guest.run("cloud-init status --wait >/dev/null; cloud-id; hostname; ls /run/told", timeout=300)
        assert done.output.split() == ["configdrive", "driven", "/run/told"]
        assert guest.run(["test", "-d", "/sys/firmware/efi"]).status == 0
        # What runs in it may switch it off while a command runs.
        with pytest.raises(BuildFailed, match=r"was switched off|connection .* was lost"):
            guest.run("systemctl poweroff; sleep 600", user="root", timeout=300)
    assert not qemus()
    assert not list(tmp_path.iterdir())


def test_a_machine_without_a_network(vm_disk: Path, tmp_path: Path) -> None:
    seed = Seed(user_data={"bootcmd": ["echo told before >/dev/ttyS0"]})
    with boot(vm_disk, BootOptions(seed=seed, network="none"), tmp_path, Stop()) as guest:
        guest.wait_for_console(r"guest login:", SSH_SECONDS)
        guest.wait_for_console(r"Cloud-init .* finished .*Datasource DataSourceNoCloud", SSH_SECONDS)
        assert guest.console_has("^told before")
        assert not guest.console_has("eth0|ens")
        assert not [line for line in sockets(qemus()[0]) if " 0A " in line]


def waits_for_ever(
    disk: Path,
    options: BootOptions,
    scratch: Path,
    stop: Stop,
    meanwhile: Callable[[], object] = lambda: None,
) -> None:
    with boot(disk, options, scratch, stop) as guest:
        meanwhile()
        guest.wait_for_console("never said", SSH_SECONDS)


def test_a_full_disk_is_told(vm_disk: Path, tmp_path: Path) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(tmp_path)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        options = BootOptions(network="none", grow_to=3 * GIB)
        with pytest.raises(DiskFull, match="no space is left"):
            waits_for_ever(vm_disk, options, tmp_path, Stop())
        assert not list(tmp_path.iterdir())
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_stop_ends_a_machine(vm_disk: Path, tmp_path: Path) -> None:
    stop, pids = Stop(), list[int]()

    def later() -> None:
        pids.extend(qemus())
        stop.now()

    timer = threading.Timer(5, later)
    with pytest.raises(Interrupted):
        waits_for_ever(vm_disk, BootOptions(), tmp_path, stop, timer.start)
    timer.join()
    assert len(pids) == 1
    assert gone(pids, 1)
    assert not list(tmp_path.iterdir())
    with pytest.raises(Interrupted), boot(vm_disk, BootOptions(), tmp_path, stop):
        pytest.fail("it booted after a stop")
    assert not list(tmp_path.iterdir())


def test_an_error_ends_a_machine(vm_disk: Path, tmp_path: Path) -> None:
    pids: list[int] = []

    def meanwhile() -> None:
        pids.extend(qemus())
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        waits_for_ever(vm_disk, BootOptions(seed=None), tmp_path, Stop(), meanwhile)
    assert len(pids) == 1
    assert gone(pids, 1)
    assert not list(tmp_path.iterdir())


def test_a_machine_that_dies_is_told(vm_disk: Path, tmp_path: Path) -> None:
    with pytest.raises(BuildFailed, match="QEMU ended with status 137"):
        waits_for_ever(vm_disk, BootOptions(), tmp_path, Stop(), lambda: os.kill(qemus()[0], signal.SIGKILL))
    assert not list(tmp_path.iterdir())


def test_a_machine_that_cannot_start_is_told(vm_disk: Path, tmp_path: Path) -> None:
    with (
        pytest.raises(EngineError, match=r"QEMU does not start: .*(memory|RAM|ram)"),
        boot(vm_disk, BootOptions(memory=1 << 50), tmp_path, Stop()),
    ):
        pytest.fail("a machine had a pebibyte of memory")
    with (
        pytest.raises(BadInput, match="can't boot with"),
        boot(vm_disk, BootOptions(grow_to=GIB), tmp_path, Stop()),
    ):
        pytest.fail("a disk shrank")
    with (
        pytest.raises(BuildFailed, match="can't be read"),
        boot(tmp_path / "no", BootOptions(), tmp_path, Stop()),
    ):
        pytest.fail("there was no disk")
    assert not list(tmp_path.iterdir())


def test_a_machine_ends_with_us(vm_disk: Path, tmp_path: Path) -> None:
    """Killed outright, we can end nothing any more."""
    script = f"""
import time
from pathlib import Path
from imagefactory.guest import BootOptions, boot
from imagefactory.system.processes import Stop
with boot(Path({str(vm_disk)!r}), BootOptions(), Path({str(tmp_path)!r}), Stop()) as guest:
    print("on", flush=True)
    guest.wait_for_ssh(600)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout
        assert child.stdout.readline() == "on\n"
        pids = qemus(child.pid)
        assert len(pids) == 1
        child.kill()
    assert gone(pids)


def test_an_accelerator_is_one_that_works(vm_disk: Path, tmp_path: Path) -> None:
    (tmp_path / "keep").mkdir()
    (tmp_path / "scratch").mkdir()
    began = time.monotonic()
    found = accelerator(vm_disk, tmp_path / "keep", tmp_path / "scratch", Stop())
    took = time.monotonic() - began
    assert took < 30
    assert found.why
    assert not qemus()
    assert not list((tmp_path / "scratch").iterdir())
    if os.access("/dev/kvm", os.R_OK | os.W_OK):
        assert [path.name for path in (tmp_path / "keep").iterdir()] == ["accelerator.json"]
        # It is kept; what is not of this start of the machine is not believed.
        assert accelerator(tmp_path / "no disk", tmp_path / "keep", tmp_path / "scratch", Stop()) == found
        kept = tmp_path / "keep" / "accelerator.json"
        kept.write_text(kept.read_text().replace('"boot": "', '"boot": "0'))
        assert (
            accelerator(tmp_path / "no disk", tmp_path / "keep", tmp_path / "scratch", Stop()).name == "tcg"
        )


def test_versions_are_told() -> None:
    assert all(engine_versions().values())
