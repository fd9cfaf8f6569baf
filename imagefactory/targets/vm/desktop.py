"""What a project image has for a desktop, and how that is looked at from inside."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from imagefactory.model.spec import File, ImageSpec
from imagefactory.system.templates import fill, text_of
from imagefactory.targets.common.launchers.menu import menu_files

if TYPE_CHECKING:  # machines start slowly
    from imagefactory.guest import Guest

_SHARED = "usr/local"
_TERMINAL = "opt/imagefactory/bin/terminal"
_ENTRY = "imagefactory-terminal.desktop"
PORT = "3389"
MEMORY_MIB = 1024
"""What a desktop takes beside its applications."""


def desktop_files(spec: ImageSpec) -> Iterator[File]:
    """Entries of menus for the application's programs with windows, and a terminal to begin with, which opens
    with the desktop; none for what needs no desktop. Pure.
    """
    image = spec.image
    if not image.needs.desktop:
        return
    # Those of commands that the image turns out not to have are hidden by menus (TryExec).
    for file in menu_files(image, tuple(app.command for app in image.gui_apps)):
        yield File(f"{_SHARED}/{file.path}", file.mode, file.data)
    entry = fill(
        __package__, "terminal.desktop.j2", {"title": image.title, "program": f"/{_TERMINAL}"}
    ).encode()
    yield File(f"{_SHARED}/share/applications/{_ENTRY}", 0o644, entry)
    yield File(f"etc/xdg/autostart/{_ENTRY}", 0o644, entry)
    yield File(_TERMINAL, 0o755, text_of(__package__, "terminal.sh").encode())


def remote_desktop(guest: Guest) -> str:
    """What is wrong with remote desktop on a machine, in words: it speaks TLS alone, with its own key."""
    done = guest.run(["python3", "-I", "-c", text_of(__package__, "ask_rdp.py")], timeout=300)
    if done.status:
        return f"it does not answer: {done.output[-200:]!r}"
    said = dict(line.split("=", 1) for line in done.output.splitlines() if "=" in line)
    if said.get("plain") != "refused":
        return "it lets in who does not speak TLS"
    if said.get("tls") != said.get("certificate"):
        return "its certificate is another than it shows at login"
    return "" if said.get("age") == "new" else "its key is older than the machine's start"
