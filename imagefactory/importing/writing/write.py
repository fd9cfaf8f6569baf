"""A foreign recipe, read, to a folder of ours: whole, or not at all."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from imagefactory.definitions.bases import container_bases
from imagefactory.definitions.recipes import load_images
from imagefactory.definitions.recipes.parts import part_names
from imagefactory.errors import BadFiles, BadInput, Problem
from imagefactory.importing.drafting.bases import base_of
from imagefactory.importing.drafting.draft import OUTCOMES, Draft, Remark, TestDraft
from imagefactory.importing.drafting.environment import SYSTEM_FOLDERS
from imagefactory.importing.drafting.translate import Translator
from imagefactory.importing.fits import fits, slug
from imagefactory.importing.inert import inert
from imagefactory.importing.steps import Base, Described
from imagefactory.importing.writing.inline import inline_files
from imagefactory.importing.writing.recipe import commands_of, recipe_text
from imagefactory.model.fields import Command
from imagefactory.model.spec import File
from imagefactory.system.files import write_files
from imagefactory.system.records import BUNDLES
from imagefactory.system.workspace import Workspace

USUAL_BASE = "debian-12"
_PNG = b"\x89PNG\r\n\x1a\n"
_MAX_README = 60_000


@dataclass(frozen=True, slots=True)
class Imported:
    """What came of it: the folder, the name, and what became of each instruction."""

    folder: Path
    name: str
    base: str
    format: str
    remarks: Sequence[Remark]
    problems: Sequence[Problem] = ()

    def counts(self) -> Mapping[str, Mapping[str, int]]:
        """By kind of instruction, how many were translated, in part, and not."""
        found: dict[str, dict[str, int]] = {}
        for remark in self.remarks:
            kind = found.setdefault(remark.kind, dict.fromkeys(OUTCOMES, 0))
            kind[remark.outcome] += 1
        return found


def write_import(
    workspace: Workspace, described: Described, name: str, base: str, taken: Collection[str] = ()
) -> Imported:
    """Write ``recipes/<name>/``; without a name or a base, those that fit. ``taken`` are names of images.

    Raises BadInput where that can't be made, or is there.
    """
    name = name or slug(described.name, "")
    folder = _free(workspace, name, taken)
    bases = container_bases(workspace)
    chosen = _base(described, base, bases)
    draft = Draft(name, chosen, described.values)
    Translator(described, draft, part_names(workspace)).translate()
    draft.gather()
    _finish(described, draft)
    write_files(folder, _files(described, draft))
    problems: Sequence[Problem] = ()
    try:
        load_images(workspace, [name])
    except BadFiles as error:
        problems = [replace(each, message=inert(each.message)) for each in error.problems]
    return Imported(folder, name, chosen, described.format, draft.remarks, problems)


def _free(workspace: Workspace, name: str, names: Collection[str]) -> Path:
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name) or len(name) > 63 or name == BUNDLES:
        raise BadInput(f"'{name}' cannot name a recipe", hint="give another one with --name, such as my-app")
    folder = workspace.recipes / name
    for taken in (folder, workspace.bases / f"{name}.yaml"):
        if taken.exists() or taken.is_symlink():
            hint = "give another name with --name, or move the folder away"
            raise BadInput(f"{workspace.shown(taken)} exists already", hint=hint)
    if name in names:
        hint = "give another name with --name"
        raise BadInput(f"there is an image, recipe or base image called '{name}' already", hint=hint)
    return folder


def _base(described: Described, asked: str, bases: Sequence[str]) -> str:
    """The base image that was asked for, or that is of the release it was made on, or the usual one."""
    step = next((step for step in described.steps if isinstance(step, Base)), None)
    chosen = asked or (base_of(step.image, bases) if step else "") or USUAL_BASE
    if chosen not in bases:
        there = ", ".join(bases) or "none"
        raise BadInput(f"there is no base image '{chosen}'", hint=f"give one with --base; there is: {there}")
    return chosen


def _finish(described: Described, draft: Draft) -> None:
    """What a recipe needs besides: commands of menus, and at least one test."""
    if not described.icon.startswith(_PNG):
        described.icon = b""
    layer = draft.layer("")
    for app in described.gui:
        command = app.command.strip().rpartition("/")[2]
        if fits(Command, command) and len(app.command.split()) == 1:
            layer.commands.setdefault(command, None)
    _whole_machines(draft)
    if not any(not test.full for test in draft.tests.values()):
        named = [each for each in commands_of(draft, layer) if not set(each) & set("*?")]
        note = "FILL IN: a test of what it does, with an answer that is known"
        words = ("sh", "-ec", f"command -v {draft.resolved(named[0])}") if named else ("true",)
        draft.tests["starts"] = TestDraft(words, note=note)


def _whole_machines(draft: Draft) -> None:
    """A command of a folder needs that in PATH: both are for all machines, or for one."""
    for machine in ("amd64", "arm64"):
        layer = draft.layer(machine)
        for command in layer.commands:
            folder = command.rpartition("/")[0]
            if folder and folder not in (*layer.path, *SYSTEM_FOLDERS):
                layer.path[folder] = None
        for name in draft.layer("").commands:
            layer.commands.pop(name, None)


def _files(described: Described, draft: Draft) -> Iterator[File]:
    heading = (
        f"From {inert(described.file, 60)} ({described.format}).",
        "There is no network here: what was downloaded comes from the sources in recipe.yaml. What has no",
        "counterpart stands as a comment, with a stop where it counts.",
    )
    yield File("recipe.yaml", 0o644, _bytes(recipe_text(described, draft)))
    yield File("install.sh", 0o644, _bytes(draft.script.text(heading, draft.moved)))
    inline = inline_files(draft)
    for name, file in draft.files.items():
        if name not in inline:
            yield File(f"files/{name}", 0o755 if file.executable else 0o644, file.data)
    for name, file in draft.test_files.items():
        yield File(f"tests/{name}", 0o644, _bytes(draft.moved(file.data.decode(errors="replace"))))
    if described.readme.strip():
        yield File("README.md", 0o644, _readable(described.readme).encode())
    if described.icon and described.gui:
        yield File(f"icons/{draft.name}.png", 0o644, described.icon)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "replace")  # JSON can name halves of characters


def _readable(text: str) -> str:
    kept = "".join(c if c in "\n\t" or c.isprintable() else " " for c in text.replace("\r\n", "\n"))
    return f"{kept[:_MAX_README].strip()}\n"
