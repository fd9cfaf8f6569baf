"""The files beside a recipe.yaml."""

from __future__ import annotations

import os
from pathlib import Path

from imagefactory.errors import Problem
from imagefactory.model.spec import File
from imagefactory.system.workspace import Workspace
from imagefactory.yamlfiles import shorten

MAX_FILE_BYTES = 16 << 20
MAX_README = 64 << 10


def read_script(file: Path, workspace: Workspace, problems: list[Problem]) -> bytes:
    """The text of a shell script; empty where something is wrong with it."""
    script = read_file(file, workspace, problems)
    if script is None:
        return b""
    shown = workspace.shown(file)
    if not script.data.strip():
        problems.append(Problem(shown, 0, 0, "is empty: write what installs the application"))
    if b"\r\n" in script.data:
        before = script.data[: script.data.index(b"\r\n")].split(b"\n")
        message = "Windows line endings: shells need plain ones, such as dos2unix makes"
        problems.append(Problem(shown, len(before), len(before[-1]) + 1, message))
    return script.data


def read_readme(file: Path, workspace: Workspace, problems: list[Problem]) -> str:
    """What users should know, in Markdown; empty where there is no such file."""
    if not file.exists() and not file.is_symlink():
        return ""
    readme = read_file(file, workspace, problems)
    try:
        text = readme.data.decode() if readme else ""
    except UnicodeDecodeError:
        text = "\0"
    if len(text) > MAX_README or not text.replace("\n", "").replace("\t", "").isprintable():
        message = (
            f"must be text in UTF-8 without control characters, and no longer than {MAX_README >> 10} KiB"
        )
        problems.append(Problem(workspace.shown(file), 0, 0, message))
    return text


def read_file(file: Path, workspace: Workspace, problems: list[Problem]) -> File | None:
    """One small regular file; what is wrong with it is added to ``problems``."""
    shown = workspace.shown(file)
    if file.is_symlink():
        problems.append(Problem(shown, 0, 0, "is a symbolic link: put the file itself there"))
    elif not file.exists():
        problems.append(Problem(shown, 0, 0, "is missing: every recipe has one"))
    elif not file.is_file():
        problems.append(Problem(shown, 0, 0, "is not a regular file"))
    elif file.stat().st_size > MAX_FILE_BYTES:
        limit = MAX_FILE_BYTES >> 20
        problems.append(Problem(shown, 0, 0, f"is larger than {limit} MiB: declare it as a source instead"))
    else:
        return _content(file, shown, problems)
    return None


def read_tree(folder: Path, workspace: Workspace, problems: list[Problem]) -> tuple[File, ...]:
    """All files below ``folder``, by path; empty where there is no such folder."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        problems.append(Problem(workspace.shown(folder), 0, 0, "must be a folder, not a link or a file"))
        return ()
    files = []

    def unreadable(error: OSError) -> None:
        shown = workspace.shown(Path(error.filename))
        problems.append(Problem(shown, 0, 0, f"cannot be read: {error.strerror}"))

    there = os.walk(folder, onerror=unreadable) if folder.exists() else ()
    for parent, folders, names in there:
        folders.sort()
        links = [name for name in folders if (Path(parent) / name).is_symlink()]
        for name in sorted(links + names):
            path = Path(parent) / name
            if _is_rubbish(path):
                continue
            if not str(path.relative_to(folder)).isprintable():
                message = f"cannot take a file called '{shorten(name)}': rename it"
                problems.append(Problem(shorten(workspace.shown(path.parent)), 0, 0, message))
                continue
            file = read_file(path, workspace, problems)
            if file:
                files.append(File(str(path.relative_to(folder)), file.mode, file.data))
    return tuple(sorted(files, key=lambda file: file.path))


def _content(file: Path, shown: str, problems: list[Problem]) -> File | None:
    try:
        data = file.read_bytes()
    except OSError as error:
        problems.append(Problem(shown, 0, 0, f"cannot be read: {error.strerror}"))
        return None
    # Only the x bit is kept, as git does, so that two checkouts give the same image.
    mode = 0o755 if file.stat().st_mode & 0o100 else 0o644
    return File(file.name, mode, data)


def _is_rubbish(path: Path) -> bool:
    return path.name in {".DS_Store"} or path.name.endswith(("~", ".swp")) or "__pycache__" in path.parts
