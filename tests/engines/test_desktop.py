"""A machine with a desktop: people reach it by remote desktop and in a browser, and nobody else does."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from imagefactory.guest import BootOptions, Guest, Seed, boot, open_disk
from imagefactory.system.processes import Stop
from tests.engines.bench import Bench
from tests.engines.conftest import shared_folder
from tests.engines.machines import SSH_SECONDS
from tests.engines.screens import Picture, Screen, browser, remote_desktop, screen
from tests.engines.vmbase import copy_vm_base, shared

pytestmark = [pytest.mark.timeout(7200), pytest.mark.long]
BASE = "debian-13-desktop-vm"
USER, PASSWORD = "debian", "correct horse 4"
SESSION_SECONDS = 900  # a desktop in an emulated machine takes its time to start
CERTIFICATE = "/etc/xrdp/imagefactory/cert.pem"
# Has a script run on the desktop on which that program runs.
INSIDE = """\
pid=$(pgrep -u {user} -o -x {program}) || exit 9
env=$(tr '\\0' '\\n' </proc/$pid/environ | grep -E '^(DISPLAY|XAUTHORITY|DBUS_SESSION_BUS_ADDRESS)=')
export $env
"""
SEEN = "xwininfo -root -tree"


@pytest.fixture(scope="module")
def built(module_bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> tuple[Bench, str]:
    """An image with a program with windows, as a VM image."""
    copy_vm_base(shared(BASE, shared_folder(tmp_path_factory)), module_bench, BASE)
    image = module_bench.recipe(
        "desk",
        inputs={"apt": ["x11-apps"]},
        commands=["xclock"],
        needs={"desktop": True},
        gui_apps=[{"name": "A clock", "command": "xclock", "icon": "clock.svg"}],
        tests=[
            {"name": "knows", "command": ["sh", "-c", "command -v xclock"], "output": ["^/usr/bin/xclock$"]}
        ],
    )
    icons = module_bench.folder(image) / "icons"
    icons.mkdir()
    (icons / "clock.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>\n')
    module_bench.run("build", image, "--format", "vm", timeout=6000)
    return module_bench, image


@pytest.fixture(scope="module")
def disk(built: tuple[Bench, str]) -> Path:
    bench, image = built
    return bench.build / image / str(bench.report(image, "vm")["file"])


@pytest.fixture(scope="module")
def guest(disk: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    """A machine of it, whose user has a password, since somebody asked cloud-init for one."""
    wish = {"password": PASSWORD, "chpasswd": {"expire": False}}
    options = BootOptions(seed=Seed(hostname="desk", user_data=wish), memory=3 << 30, grow_to=14 << 30)
    with boot(disk, options, tmp_path_factory.mktemp("desktop"), Stop()) as made:
        made.wait_for_ssh(SSH_SECONDS)
        assert made.run("cloud-init status --wait", timeout=SSH_SECONDS).status == 0
        yield made


BY_REMOTE, BY_BROWSER = "xfce4-session", "Xtigervnc"  # the first session, and the only one of that server


def inside(guest: Guest, program: str, script: str, seconds: float = 300) -> str:
    """What a script says that runs on the desktop of that program."""
    done = guest.run(INSIDE.format(user=USER, program=program) + script, timeout=seconds)
    assert done.status == 0, done.output
    return done.output


def has_session(guest: Guest, program: str) -> bool:
    """Whether its desktop is there: the panel, and the terminal to begin with."""
    done = guest.run(INSIDE.format(user=USER, program=program) + SEEN, timeout=120)
    return done.status == 0 and "xfce4-panel" in done.output and "A test" in done.output


def test_it_is_tested_as_one(built: tuple[Bench, str]) -> None:
    bench, image = built
    tests = {test["name"]: test["status"] for test in bench.report(image, "vm")["tests"]}
    assert tests["remote-desktop"] == tests["open-ports"] == tests["no-host-keys"] == "passed"
    assert set(tests.values()) == {"passed"}


def test_its_disk_has_entries_of_menus_and_no_key(
    built: tuple[Bench, str], disk: Path, tmp_path: Path
) -> None:
    _, image = built
    with open_disk(disk, tmp_path, Stop()) as reader:
        entry = reader.read(f"/usr/local/share/applications/{image}-xclock.desktop").decode()
        assert "Name=A clock\nComment=An image that a test makes\nTryExec=xclock\n" in entry
        assert reader.exists(f"/usr/local/share/icons/hicolor/scalable/apps/{image}-xclock.svg")
        assert (
            "Name=Terminal for A test\n"
            in reader.read("/etc/xdg/autostart/imagefactory-terminal.desktop").decode()
        )
        assert not reader.glob("*/key.pem")
        assert not reader.glob("/etc/ssl/private/*")


def test_how_to_reach_it_is_said_at_login(guest: Guest) -> None:
    said = guest.run("run-parts /etc/update-motd.d", user="root", timeout=120).output
    assert "port 3389" in said
    assert "desktop-in-browser" in said
    assert fingerprint(guest) in said


def fingerprint(guest: Guest) -> str:
    done = guest.run(f"openssl x509 -noout -fingerprint -sha256 -in {CERTIFICATE}")
    return done.output.strip().partition("=")[2]


def test_somebody_works_there_by_remote_desktop(
    guest: Guest, tmp_path: Path, built: tuple[Bench, str]
) -> None:
    """A client logs in, and starts the application by its entry of the menu: its window is seen there."""
    _, image = built
    port, log = guest.forward(3389), tmp_path / "client.log"
    with (
        screen(tmp_path) as on,
        remote_desktop(on, port, fingerprint(guest), USER, PASSWORD, log) as client,
    ):
        patiently(
            lambda: client.poll() is not None or has_session(guest, BY_REMOTE),
            lambda: f"no desktop: {log.read_text()[-2000:]}",
        )
        assert client.poll() is None, log.read_text()[-2000:]
        before = settled(on)
        before.write(tmp_path / "before.png")
        assert before.colours > 200
        entry = f"/usr/local/share/applications/{image}-xclock.desktop"
        inside(guest, BY_REMOTE, f"gio launch {entry} >/dev/null 2>&1 </dev/null &")
        patiently(lambda: "XClock" in inside(guest, BY_REMOTE, SEEN), lambda: "its window is not there")
        patiently(lambda: on.picture().changed(before) > 0.005, lambda: "nothing changed on the screen")
        on.picture().write(tmp_path / "after.png")
        keep(tmp_path, "before.png", "after.png")


def patiently(condition: Callable[[], bool], otherwise: Callable[[], str]) -> None:
    """Wait for something of a machine that is emulated, which every question costs time."""
    until = time.monotonic() + SESSION_SECONDS
    while not condition():
        assert time.monotonic() < until, otherwise()
        time.sleep(5)


def settled(on: Screen) -> Picture:
    """What it shows when it has stopped to change."""
    last, until = on.picture(), time.monotonic() + SESSION_SECONDS
    while time.monotonic() < until:
        time.sleep(20)
        now = on.picture()
        if now.colours > 200 and now.changed(last) < 0.002:
            return now
        last = now
    return last


def test_a_client_that_expects_another_key_stays_out(guest: Guest, tmp_path: Path) -> None:
    log = tmp_path / "client.log"
    other = ":".join(["00"] * 32)
    with (
        screen(tmp_path) as on,
        remote_desktop(on, guest.forward(3389), other, USER, PASSWORD, log) as client,
    ):
        assert client.wait(180) != 0


def test_somebody_works_there_in_a_browser(guest: Guest, tmp_path: Path) -> None:
    told = guest.run("desktop-in-browser 6080", timeout=SESSION_SECONDS).output
    (address,) = re.findall(r"http://localhost:6080(/vnc\.html#\S+)", told)
    with browser(tmp_path) as page:
        page.go(f"http://127.0.0.1:{guest.forward(6080)}{address}")
        page.wait_for("document.documentElement.classList.contains('noVNC_connected')", 300)
        patiently(lambda: has_session(guest, BY_BROWSER), lambda: "no desktop")
        page.wait_for(f"({COLOURS})() > 200", SESSION_SECONDS)
        page.screenshot(tmp_path / "browser.png")
        assert (tmp_path / "browser.png").stat().st_size > 20_000
        keep(tmp_path, "browser.png")
    again = guest.run("desktop-in-browser", timeout=120).output
    assert address in again  # the desktop stays, under its address


COLOURS = """\
() => {
    const canvas = document.querySelector("#noVNC_container canvas");
    const dots = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    return new Set(new Uint32Array(dots.buffer)).size;
}"""


def test_only_it_is_open_with_both_in_use(guest: Guest) -> None:
    lines = guest.run("ss -Htuln", timeout=120).output.splitlines()
    places = {(line.split()[0], *line.split()[4].rsplit(":", 1)) for line in lines}
    outside = {(kind, port) for kind, address, port in places if not address.startswith(("127.", "[::1]"))}
    assert outside - {("udp", "68"), ("udp", "546")} == {("tcp", "22"), ("tcp", "3389")}
    assert ("tcp", "127.0.0.1", "6080") in places
    assert not {
        port for _, _, port in places if port.startswith("59")
    }  # VNC itself has a file, which is the user's
    assert guest.run("sshd -T | grep -i '^passwordauthentication'", user="root").output.split()[1] == "no"


def keep(folder: Path, *names: str) -> None:
    """Put pictures where a person can look at them afterwards."""
    place = Path("build/desktop-pictures")
    place.mkdir(parents=True, exist_ok=True)
    for name in names:
        shutil.copy(folder / name, place / name)
