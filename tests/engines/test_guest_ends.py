"""Machines of a test's own: other ways of booting, and all ways to end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from imagefactory.errors import BadInput, BuildFailed, DiskFull, EngineError, Interrupted
from imagefactory.guest import BootOptions, Seed, accelerator, boot, engine_versions
from imagefactory.system.processes import Stop
from tests.engines.machines import SSH_SECONDS, gone, qemus, sockets

GIB = 1 << 30
pytestmark = [pytest.mark.timeout(1500), pytest.mark.long]


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
        assert not guest.console_has(r"\b(eth|ens|enp)\d")
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


def test_a_machine_that_died_before_it_was_asked_is_told(vm_disk: Path, tmp_path: Path) -> None:
    with boot(vm_disk, BootOptions(), tmp_path, Stop()) as guest:
        os.kill(qemus()[0], signal.SIGKILL)
        with pytest.raises(BuildFailed, match="QEMU ended with status 137"):
            guest.wait_for_ssh(SSH_SECONDS)
        with pytest.raises(BuildFailed, match="QEMU ended with status 137"):
            guest.powerdown()
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
