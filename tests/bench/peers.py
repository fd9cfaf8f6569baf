"""Other generators of Dockerfiles, in an environment of their own: what ours is measured against."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from uv import find_uv_bin

PACKAGES = ("neurodocker==2.1.2", "hpccm==26.5.0")

# As a user's program does it: one renderer for each image, all in one process.
NEURODOCKER = """\
import sys
from pathlib import Path
from neurodocker.reproenv.renderers import DockerRenderer
for number in range(int(sys.argv[1])):
    text = DockerRenderer.from_dict({
        "pkg_manager": "apt",
        "instructions": [
            {"name": "from_", "kwds": {"base_image": "debian:12-slim"}},
            {"name": "install", "kwds": {"pkgs": ["hello"], "opts": ""}},
            {"name": "env", "kwds": {"GREETING": f"Hello from app-{number}"}},
            {"name": "user", "kwds": {"user": "user"}},
        ],
    }).render()
    Path(sys.argv[2], f"Dockerfile.{number}").write_text(text)
"""
HPCCM = "Stage0 += baseimage(image='debian:12-slim')\nStage0 += packages(apt=['hello'])\n"


def install_peers(folder: Path) -> Path:
    """Install them in ``folder``; the folder of their programs."""
    uv = find_uv_bin()
    _run(uv, "venv", "--quiet", "--allow-existing", "--python", sys.executable, str(folder))
    python = folder / "bin" / "python"
    _run(uv, "pip", "install", "--quiet", "--system-certs", "--python", str(python), *PACKAGES)
    return folder / "bin"


def _run(*argv: str) -> None:
    subprocess.run(argv, check=True)
