"""What a desktop brings into a VM base, and into a project image."""

from __future__ import annotations

import configparser
import dataclasses

from imagefactory.model.recipe import BaseImage, GuiApp, Machine, Needs
from imagefactory.model.spec import BaseDefinition, BaseSpec, ImageSpec
from imagefactory.targets.vm.facts import machine_files, memory_mib
from imagefactory.targets.vmbase.system import maker, settle_script, system_files
from tests.unit.samples import apt_file, file, folder, image, lock, spec

APPS = (GuiApp(name="Hello", command="hello", icon="hello.svg"),)
ENTRY = "usr/local/share/applications/app-hello.desktop"
TERMINAL = "etc/xdg/autostart/imagefactory-terminal.desktop"


def base(*packages: str) -> BaseSpec:
    whole = BaseImage(
        name="lab-vm",
        title="It",
        distribution="debian",
        suite="trixie",
        packages=packages,
        machine=Machine(user="lab"),
    )
    return BaseSpec(BaseDefinition(whole, "linux/amd64", 1), lock(image={"apt": (apt_file("nano"),)}))


def project(*, desktop: bool, title: str = "An application") -> ImageSpec:
    icons = folder(icons=(file("hello.svg", data=b"<svg/>"),))
    needs = Needs(desktop=desktop)
    return spec(image=image(gui_apps=APPS, needs=needs, folder=icons, title=title))


def test_a_vm_base_with_remote_desktop_has_its_settings_and_others_have_none() -> None:
    plain, with_one = base("nano"), base("nano", "xrdp")
    more = {each.path: each for each in set(system_files(with_one)) - set(system_files(plain))}
    assert {path for path, each in more.items() if each.mode == 0o755} == {
        "usr/local/bin/desktop-in-browser",
        "usr/local/lib/imagefactory/desktop-key",
        "etc/update-motd.d/60-imagefactory-desktop",
    }
    settings = configparser.RawConfigParser(strict=False)
    settings.read_string(more["etc/xrdp/imagefactory/xrdp.ini"].data.decode())
    assert settings["Globals"]["security_layer"] == "tls"
    assert settings["Globals"]["key_file"] == "/etc/xrdp/imagefactory/key.pem"
    settings.read_string(more["etc/xrdp/imagefactory/sesman.ini"].data.decode())
    assert settings["Security"]["AllowRootLogin"] == "false"
    # The system is told to forget the keys that packages made, and then all that any system is told.
    assert settle_script(with_one).endswith(settle_script(plain))
    assert "rsakeys.ini" in settle_script(with_one).removesuffix(settle_script(plain))
    assert maker(with_one) != maker(plain)


def test_a_project_image_with_a_desktop_has_entries_of_menus_and_a_terminal() -> None:
    files = {each.path: each.data.decode() for each in machine_files(project(desktop=True))}
    assert "Exec=hello\nIcon=app-hello\n" in files[ENTRY]
    assert files["usr/local/share/icons/hicolor/scalable/apps/app-hello.svg"] == "<svg/>"
    assert files[TERMINAL] == files["usr/local/share/applications/imagefactory-terminal.desktop"]
    assert "Name=Terminal for An application\nExec=/opt/imagefactory/bin/terminal\n" in files[TERMINAL]
    assert "opt/imagefactory/bin/terminal" in files


def test_a_title_stays_one_in_a_menu() -> None:
    files = {each.path: each.data.decode() for each in machine_files(project(desktop=True, title="A\\nB"))}
    assert "Name=Terminal for A\\\\nB\n" in files[TERMINAL]


def test_a_project_image_without_a_desktop_has_none_of_it() -> None:
    with_one, without = project(desktop=True), project(desktop=False)
    paths = {each.path for each in machine_files(without)}
    assert not {ENTRY, TERMINAL, "opt/imagefactory/bin/terminal"} & paths
    assert memory_mib(with_one) == memory_mib(without) + 1024
    edited = dataclasses.replace(without, image=dataclasses.replace(without.image, gui_apps=()))
    assert machine_files(edited) == machine_files(without)
