"""Entries of desktop menus."""

from __future__ import annotations

import configparser

from imagefactory.model.recipe import GuiApp
from imagefactory.targets.common.launchers.menu import menu_files
from tests.unit.samples import file, folder, image

APPS = (
    GuiApp(name="Hello \\ world", command="hello", icon="hello.svg"),
    GuiApp(name="Plain", command="plain"),
    GuiApp(name="Gone", command="gone", icon="pixels.png"),
)
ICONS = (file("hello.svg", data=b"<svg/>"), file("pixels.png", data=b"PNG"))


def test_each_program_with_windows_has_an_entry_and_its_icon() -> None:
    ours = image(id="app-new", repository="app", gui_apps=APPS, folder=folder(icons=ICONS))
    found = {each.path: each.data for each in menu_files(ours, ("hello", "plain"))}
    assert list(found) == [
        "share/applications/app-hello.desktop",
        "share/icons/hicolor/scalable/apps/app-hello.svg",
        "share/applications/app-plain.desktop",
    ]
    assert found["share/icons/hicolor/scalable/apps/app-hello.svg"] == b"<svg/>"
    entry = configparser.RawConfigParser(delimiters="=", strict=True)
    entry.optionxform = str  # type: ignore[assignment,method-assign]  # keys have capital letters
    entry.read_string(found["share/applications/app-hello.desktop"].decode())
    assert dict(entry["Desktop Entry"]) == {
        "Type": "Application",
        "Name": "Hello \\\\ world",
        "Comment": "Says hello.",
        "TryExec": "hello",
        "Exec": "hello",
        "Icon": "app-hello",
        "Terminal": "false",
        "Categories": "Science;",
    }
    assert b"Icon" not in found["share/applications/app-plain.desktop"]


def test_pixels_have_a_place_of_their_own() -> None:
    ours = image(gui_apps=APPS, folder=folder(icons=ICONS))
    assert [each.path for each in menu_files(ours, ("gone",))] == [
        "share/applications/app-gone.desktop",
        "share/icons/hicolor/256x256/apps/app-gone.png",
    ]
