"""Licences that whoever builds an image must accept first."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from imagefactory.drive.result import now
from imagefactory.errors import BadInput
from imagefactory.model.report import Acceptance
from imagefactory.model.spec import ImageDefinition
from imagefactory.system.files import make_folder, write_file
from imagefactory.system.holds import hold_file
from imagefactory.system.site import Site


def require_acceptance(
    images: Iterable[ImageDefinition], given: Iterable[str], site: Site, ask: Callable[[str], bool] | None
) -> None:
    """See that every accept-first licence of the images is accepted: by ``given`` names of recipes, by the
    site's settings, by an earlier answer, or by an answer now.

    ``ask`` puts a question to a person; None where there is nobody to ask. Raises BadInput.
    """
    asked: dict[str, ImageDefinition] = {
        image.recipe: image for image in images if image.terms.policy == "accept-first"
    }
    given = set(given)
    for recipe, image in asked.items():
        if recipe in given:
            _remember(image, "--accept-licence")
        elif accepted(image, site) is None:
            if ask is None or not ask(_question(image)):
                raise BadInput(
                    f"{recipe}: its licence is not accepted: {image.terms.url}"
                    + (f" ({image.terms.note})" if image.terms.note else ""),
                    hint=f"read it; if you accept it, add --accept-licence {recipe}, or name {recipe} under "
                    "'accept_licences' in site.yaml",
                )
            _remember(image, "asked")


def accepted(image: ImageDefinition, site: Site) -> Acceptance | None:
    """How the image's licence was accepted; None where it was not, or need not be."""
    if image.terms.policy != "accept-first" or not image.terms.url:
        return None
    if image.recipe in site.settings.accept_licences:
        return Acceptance(url=image.terms.url, how="site settings")
    known = _answers().get(image.recipe)
    # Another text is another licence.
    return known if known and known.url == image.terms.url else None


def _question(image: ImageDefinition) -> str:
    note = f"\n  {image.terms.note}" if image.terms.note else ""
    return (
        f"{image.recipe}: {image.title} asks you to accept its licence:\n  {image.terms.url}{note}\nDo you?"
    )


def _file() -> Path:
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return state / "imagefactory" / "licences.json"


def _answers() -> dict[str, Acceptance]:
    try:
        content = json.loads(_file().read_bytes())
        return {name: Acceptance.model_validate(value) for name, value in content.items()}
    except (OSError, ValueError, AttributeError):
        return {}


def _remember(image: ImageDefinition, how: str) -> None:
    assert image.terms.url
    file = _file()
    make_folder(file.parent)
    with hold_file(file.with_suffix(".lock")):
        known = {**_answers(), image.recipe: Acceptance(url=image.terms.url, how=how, when=now())}
        content = {name: value.model_dump() for name, value in sorted(known.items())}
        write_file(file, json.dumps(content, indent=2).encode() + b"\n")
