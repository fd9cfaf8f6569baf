"""A new recipe folder that builds and passes at once, for a person to edit from there."""

from __future__ import annotations

import re
import shutil
import tempfile
from importlib.resources import files
from pathlib import Path

from imagefactory.errors import BadInput
from imagefactory.model.fields import IDENTIFIER
from imagefactory.system.records import BUNDLES
from imagefactory.system.workspace import Workspace

_SKELETON = files("imagefactory.definitions.recipes") / "skeleton"
_TARGETS = {"recipe.yaml": "recipe.yaml", "install.sh": "install.sh", "smoke.sh": "tests/smoke.sh"}


def new_recipe(workspace: Workspace, name: str) -> Path:
    """Write ``recipes/<name>/`` and return it. Raises BadInput for a bad or taken name."""
    if not re.fullmatch(IDENTIFIER, name) or len(name) > 63 or name == BUNDLES:
        raise BadInput(
            f"'{name}' cannot name a recipe",
            hint="use lower-case letters, digits and single hyphens, such as my-app",
        )
    folder = workspace.recipes / name
    for taken in (folder, workspace.bases / f"{name}.yaml"):
        if taken.exists():
            raise BadInput(f"{workspace.shown(taken)} exists already", hint="choose another name")
    draft = Path(tempfile.mkdtemp(prefix=".new-", dir=workspace.recipes))
    try:
        for source, target in _TARGETS.items():
            text = (_SKELETON / source).read_text(encoding="utf-8")
            (draft / target).parent.mkdir(exist_ok=True)
            (draft / target).write_text(text.replace("@NAME@", name), encoding="utf-8")
        draft.chmod(0o755)
        draft.rename(folder)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return folder
