"""The names on the command line to images and base images."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from imagefactory.definitions.bases import base_names
from imagefactory.definitions.recipes import load_images, recipe_names
from imagefactory.errors import BadFiles, BadInput
from imagefactory.model.spec import ImageDefinition
from imagefactory.system.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Selection:
    """The images and base images that were named, each once, in the order of their names.

    ``several`` holds what each word stands for that is not the name of one of them: a recipe with several
    images, or a pattern.
    """

    images: tuple[ImageDefinition, ...]
    bases: tuple[str, ...] = ()
    several: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def select(workspace: Workspace, names: Sequence[str]) -> Selection:
    """Images by recipe, identifier or pattern (``eso-vlt-*``), and bases by name; all for no name.

    A recipe's name always means all of its images. The one that is called as its recipe, among others, is
    named by its selector (``fsl-default``).

    Only the recipes that a name can mean are read, so that a broken one does not stop the others.
    Raises BadInput for a name that means nothing, and BadFiles for broken recipes.
    """
    folders = recipe_names(workspace)
    wanted = {folder for folder in folders if not names or any(_may_be(folder, n) for n in names)}
    images = load_images(workspace, sorted(wanted))
    if not names:
        return Selection(tuple(images))
    bases = base_names(workspace)
    chosen: dict[str, ImageDefinition] = {}
    chosen_bases: dict[str, None] = {}
    several: dict[str, tuple[str, ...]] = {}
    for name in names:
        named = _images(name, images)
        found_bases = fnmatch.filter(bases, name)
        if not named and not found_bases:
            raise _unknown(workspace, name)
        chosen.update((image.id, image) for image in named)
        found = (*found_bases, *(image.selector for image in named))
        if found != (name,):
            several[name] = found
        chosen_bases.update(dict.fromkeys(found_bases))
    return Selection(tuple(chosen[key] for key in sorted(chosen)), tuple(sorted(chosen_bases)), several)


def known_names(workspace: Workspace) -> list[str]:
    """Every name that ``select`` knows. Broken recipes are left out."""
    names = set(base_names(workspace))
    for recipe in recipe_names(workspace):
        try:
            names |= {image.selector for image in load_images(workspace, [recipe])} | {recipe}
        except BadFiles:
            continue
    return sorted(names)


def _is_pattern(name: str) -> bool:
    return any(character in name for character in "*?[")


def _may_be(folder: str, name: str) -> bool:
    return _is_pattern(name) or folder == name or name.startswith(f"{folder}-")


def _images(name: str, images: Iterable[ImageDefinition]) -> list[ImageDefinition]:
    if _is_pattern(name):
        return [i for i in images if any(fnmatch.fnmatchcase(word, name) for word in (i.id, i.selector))]
    return [image for image in images if name in (image.recipe, image.selector)]


def _unknown(workspace: Workspace, name: str) -> BadInput:
    close = difflib.get_close_matches(name, known_names(workspace), n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(close)}?" if close else "imagefactory list shows what there is"
    return BadInput(f"no image, recipe or base image is called '{name}'", hint=hint)
