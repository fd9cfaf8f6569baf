"""Fits DeepLabCut to an image that nobody can write to and that is updated by building another one.

DeepLabCut keeps downloaded weights inside its own package. Here they go to a folder of the user's.
"""

import importlib.util
import py_compile
import sys
from pathlib import Path

FOLDER = 'Path(os.environ.get("DEEPLABCUT_WEIGHTS") or Path.home() / ".cache" / "deeplabcut" / "weights")'

MODEL_ZOO = "pose_estimation_pytorch/modelzoo/utils.py"
BACKBONES = "pose_estimation_pytorch/models/backbones/base.py"
WINDOW = "gui/window.py"
CHANGES = [
    (MODEL_ZOO, "import inspect\n", "import inspect\nimport os\n"),
    (
        MODEL_ZOO,
        'return auxiliaryfunctions.get_deeplabcut_path() / "modelzoo" / "checkpoints"\n',
        f'return {FOLDER} / "superanimal"\n',
    ),
    (BACKBONES, "import logging\n", "import logging\nimport os\n"),
    (
        BACKBONES,
        'backbone_weight_folder = Path(__file__).parent / "pretrained_weights"\n',
        f'backbone_weight_folder = {FOLDER} / "backbones"\n',
    ),
    (
        BACKBONES,
        "self.backbone_weight_folder.mkdir(exist_ok=True, parents=False)\n",
        "self.backbone_weight_folder.mkdir(exist_ok=True, parents=True)\n",
    ),
    # Two seconds after its start the window asks the package index for updates, and offers to run pip.
    (WINDOW, "        self.check_for_updates(silent=True, delay_ms=2000)\n", ""),
]


def main() -> None:
    found = importlib.util.find_spec("deeplabcut")
    if found is None or found.origin is None:
        sys.exit("adapt.py: deeplabcut is not installed")
    package = Path(found.origin).parent
    for name, old, new in CHANGES:
        file = package / name
        text = file.read_text(encoding="utf-8")
        if text.count(old) != 1:
            sys.exit(f"adapt.py: {file} holds {text.count(old)} times, not once: {old.strip()}")
        file.write_text(text.replace(old, new), encoding="utf-8")
    for name in (MODEL_ZOO, BACKBONES, WINDOW):
        # What pip compiled is of the old text, and Python is told not to compare.
        py_compile.compile(
            str(package / name),
            doraise=True,
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        )


if __name__ == "__main__":
    main()
