"""Entries of desktop menus, as launchers and virtual machines have them.

https://specifications.freedesktop.org/desktop-entry-spec/latest/
"""

from __future__ import annotations

from collections.abc import Iterator

from imagefactory.model.spec import File, ImageDefinition

_ICONS = "share/icons/hicolor"
_PLACES = {"svg": f"{_ICONS}/scalable/apps", "png": f"{_ICONS}/256x256/apps"}


def menu_files(image: ImageDefinition, commands: tuple[str, ...]) -> Iterator[File]:
    """``share/applications/<name>-<command>.desktop`` for each program with windows among ``commands``, and
    its icon. Nothing in them names a folder: the commands are found on PATH.
    """
    icons = {file.path: file for file in image.folder.icons}
    for app in image.gui_apps:
        if app.command not in commands:
            continue
        name = f"{image.repository}-{app.command}"
        lines = {
            "Type": "Application",
            "Name": app.name,
            "Comment": image.summary,
            "TryExec": app.command,
            "Exec": app.command,
            "Icon": name if app.icon else "",
            "Terminal": "false",
            "Categories": "Science;",
        }
        entries = "".join(f"{key}={_escaped(value)}\n" for key, value in lines.items() if value)
        yield File(f"share/applications/{name}.desktop", 0o644, f"[Desktop Entry]\n{entries}".encode())
        if app.icon:
            ending = app.icon.rpartition(".")[2]
            yield File(f"{_PLACES[ending]}/{name}.{ending}", 0o644, icons[app.icon].data)


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\")
