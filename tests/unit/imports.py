"""Small recipes of other tools, brought into a checkout of a test."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from imagefactory.definitions.recipes import load_images
from imagefactory.importing import Imported, read_foreign, write_import
from imagefactory.model.spec import ImageDefinition
from imagefactory.system.workspace import Workspace

Make = Callable[..., Workspace]


@dataclass(frozen=True)
class Brought:
    """What an import wrote, which passes check."""

    imported: Imported
    image: ImageDefinition
    recipe: str
    script: str

    def outcomes(self, kind: str) -> list[str]:
        return [remark.outcome for remark in self.imported.remarks if remark.kind == kind]


def bring(
    workspace: Make,
    folder: Path,
    text: str,
    file: str = "build.yaml",
    beside: Mapping[str, bytes] | None = None,
    name: str = "app",
    base: str = "",
) -> Brought:
    """Import ``text``, with other files beside it, and check what comes of it."""
    folder.mkdir(exist_ok=True)
    (folder / file).write_text(text, encoding="utf-8")
    for path, data in (beside or {}).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    checkout = workspace()
    imported = write_import(checkout, read_foreign(folder / file), name, base)
    assert imported.problems == ()
    (image,) = load_images(checkout, [imported.name])
    recipe = (imported.folder / "recipe.yaml").read_text(encoding="utf-8")
    script = (imported.folder / "install.sh").read_text(encoding="utf-8")
    return Brought(imported, image, recipe, script)


def recipe_of(directives: str, more: str = "", machines: str = "x86_64", version: str = "1.5") -> str:
    """A ``build.yaml`` with these directives."""
    listed = "".join(f"  - {machine}\n" for machine in machines.split())
    inner = "".join(f"    {line}\n" for line in directives.strip("\n").split("\n"))
    return (
        f"name: Tool_Box\nversion: {version}\narchitectures:\n{listed}{more}"
        f"build:\n  kind: neurodocker\n  base-image: debian:12\n  pkg-manager: apt\n  directives:\n{inner}"
    )
