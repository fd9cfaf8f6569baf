"""What every project image keeps: how it boots, as which clouds see it, and what its disk holds."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from imagefactory.guest import BootOptions, Guest, Seed, boot, open_disk
from imagefactory.model.report import TestReport
from imagefactory.system.log import Log
from imagefactory.system.processes import Stop
from imagefactory.targets.vm.desktop import PORT, remote_desktop
from imagefactory.targets.vm.hygiene import CHECKS, enabled, more_services, with_password
from imagefactory.testing.contract import report_of

_PORTS = {"22"}
_UNITS = "systemctl list-units --failed --plain --no-legend | cut -d ' ' -f 1"
_FRESH = "stat -c %Y /etc/ssh/ssh_host_*_key /etc/machine-id && cat /etc/machine-id"


def boot_tests(
    guest: Guest, release: dict[str, str], grown: int, *, desktop: bool = False
) -> Iterator[TestReport]:
    """What holds of a machine that somebody can log in to. ``release`` are digests by kind, as they were
    tested; ``grown`` is the size of its disk in bytes; with ``desktop`` it has one.
    """
    ports = _PORTS | {PORT} if desktop else _PORTS
    checks: dict[str, Callable[[], str]] = {
        "cloud-init": lambda: _cloud_init(guest),
        "no-failed-units": lambda: _failed_units(guest),
        "disk-grows": lambda: _grows(guest, grown),
        "keys-are-its-own": lambda: _keys(guest),
        "open-ports": lambda: _ports(guest, ports),
        "no-passwords": lambda: _passwords(guest),
        "release": lambda: _release(guest, release),
        "guest-agent": lambda: "" if guest.agent_answers(30) else "the guest agent does not answer",
        "selftest": lambda: _selftest(guest),
    }
    if desktop:
        checks["remote-desktop"] = lambda: remote_desktop(guest)
    for name, check in checks.items():
        yield report_of(name, check)


def cold_boot(disk: Path, options: BootOptions, scratch: Path, stop: Stop, seconds: float) -> TestReport:
    """Whether it starts under UEFI, of a config drive, on a cloud without any network."""

    def check() -> str:
        with boot(disk, options, scratch, stop) as guest:
            guest.wait_for_console(r"Cloud-init .* finished at .*DataSourceConfigDrive", seconds)
            if not guest.console_has(r"login: "):
                guest.wait_for_console(r"login: ", seconds)
            bad = re.findall(r"\[FAILED\] .*", guest.console(1024))
            return f"its console says {bad[0]}" if bad else ""

    return report_of("uefi-config-drive-no-network", check)


def hygiene_tests(disk: Path, base: Path, scratch: Path, stop: Stop, log: Log) -> Iterator[TestReport]:
    """What its disk holds, read without booting it. ``base`` is the disk of its VM base."""
    with open_disk(base, scratch, stop, on_line=log.line) as reader:
        usual = enabled(reader)
    with open_disk(disk, scratch, stop, on_line=log.line) as reader:
        yield report_of("no-more-services", lambda: more_services(reader, usual))
        for name, check in CHECKS.items():
            yield report_of(name, lambda check=check: check(reader))  # type: ignore[misc]


def cold_options(memory: int, accelerator: str, user: str) -> BootOptions:
    """The machine of ``cold_boot``."""
    return BootOptions(
        seed=Seed(way="config-drive", hostname="cold"),
        firmware="uefi",
        memory=memory,
        network="none",
        accelerator="kvm" if accelerator == "kvm" else "tcg",
        user=user,
    )


def _cloud_init(guest: Guest) -> str:
    done = guest.run("cloud-init status --wait --format json", timeout=600)
    try:
        told = json.loads(done.output)
    except ValueError:
        return f"it does not say how it ended: {done.output[-200:]!r}"
    if told.get("status") != "done" or told.get("errors"):
        return f"{told.get('status')}: {told.get('errors')}"
    return ""


def _failed_units(guest: Guest) -> str:
    guest.run("systemctl is-system-running --wait", timeout=600)
    failed = guest.run(_UNITS).output.split()
    return f"failed: {', '.join(failed)}" if failed else ""


def _grows(guest: Guest, grown: int) -> str:
    size = int(guest.run("df --block-size=1 --output=size / | tail -n 1").output)
    return "" if size > grown * 9 // 10 else f"its root has {size} bytes on a disk of {grown}"


def _keys(guest: Guest) -> str:
    """Keys and identity, all made after it started."""
    *times, machine = guest.run(_FRESH, user="root").output.split()
    uptime = float(guest.run("cut -d ' ' -f 1 /proc/uptime").output)
    now = float(guest.run("date +%s").output)
    old = [made for made in times if float(made) < now - uptime - 60]
    if old or len(times) < 2:
        return "its host keys, or its machine-id, are older than its start, or are not there"
    return "" if re.fullmatch(r"[0-9a-f]{32}", machine) else f"its machine-id is {machine!r}"


def _ports(guest: Guest, expected: set[str]) -> str:
    listed = guest.run("ss --listening --tcp --udp --numeric --no-header | awk '{print $1, $5}'").output
    open_ = set()
    for line in listed.splitlines():
        kind, _, address = line.partition(" ")
        host, _, port = address.rpartition(":")
        local = host.startswith(("127.", "[::1]")) or "%lo" in host or ("%" in host and kind == "udp")
        if not local and not (kind == "udp" and port in ("68", "546")):  # DHCP's own
            open_.add(port)
    if lacks := sorted(expected - open_):
        return f"not open: {', '.join(lacks)}"
    more = sorted(open_ - expected)
    return f"open beside {', '.join(sorted(expected))}: {', '.join(more)}" if more else ""


def _passwords(guest: Guest) -> str:
    shadow = guest.run("cat /etc/shadow", user="root").output
    return with_password(shadow)


def _release(guest: Guest, release: dict[str, str]) -> str:
    told = json.loads(guest.run("cat /etc/imagefactory/release.json").output)["made_of"]
    found = {kind: told.get(kind, {}).get("digest") for kind in release}
    if found != release:
        return f"it says {found}, and was made of {release}"
    loaded = guest.run(["docker", "image", "inspect", "--format", "{{.Id}}", told["oci"]["reference"]])
    return "" if loaded.output.strip() == release["oci"] else f"Docker has {loaded.output.strip()}"


def _selftest(guest: Guest) -> str:
    done = guest.run("imagefactory-selftest docker", timeout=3600)
    last = done.output.strip().splitlines()[-1:]
    left_out = "left out: " in done.output and last == ["0 of 0 tests passed"]
    return "" if done.status == 0 or left_out else f"{' '.join(last)}: {done.output[-400:]!r}"
