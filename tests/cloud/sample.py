"""A checkout with one small application, for those who try no application of their own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
NAME = "count-lines"
_INSTALL = """\
#!/bin/sh
set -eu
cat >/usr/local/bin/count <<'END'
#!/bin/sh
echo "counted $(wc -l <"$1") lines as $(id -u)"
END
chmod 755 /usr/local/bin/count
"""
COUNT = "#!/bin/sh\nset -eu\nprintf 'a\\nb\\nc\\n' >data.txt\ncount data.txt | tee result.txt\n"
COUNTS = {
    "name": "counts",
    "command": ["sh", "/tests/count.sh"],
    "output": ["^counted 3 lines as [0-9]+$"],
    "measures": {"lines": {"pattern": "counted ([0-9]+) lines", "min": 3, "max": 3}},
    "files": ["result.txt"],
    "varies": ["as [0-9]+$"],
}
"""What is expected of it, by a test that runs the script ``COUNT``."""
_RECIPE = {
    "name": NAME,
    "title": "Counts lines",
    "summary": "A program that counts the lines of a file, to try a cloud with",
    "version": "1.0",
    "homepage": "https://example.org/count-lines",
    "licence": "MIT",
    "maintainers": [{"name": "Nobody"}],
    "base": "debian-12",
    "commands": ["count"],
    "tests": [COUNTS],
}


def write_sample(root: Path) -> str:
    """Write the checkout, beside what was built in it before; the name of its image."""
    folder = root / "recipes" / NAME
    (folder / "tests").mkdir(parents=True, exist_ok=True)
    (folder / "recipe.yaml").write_text(json.dumps(_RECIPE, indent=2))  # which is YAML too
    (folder / "install.sh").write_text(_INSTALL)
    (folder / "tests" / "count.sh").write_text(COUNT)
    (root / "base_images").mkdir(exist_ok=True)
    for name in ("debian-12", "debian-13-vm"):
        for file in (REPOSITORY / "base_images").glob(f"{name}.*"):
            shutil.copy(file, root / "base_images")
    return NAME
