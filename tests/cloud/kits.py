"""Launch kits in the cloud, each with its own tool."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.cloud.services import Broken
from tests.cloud.tried import COMMAND, Tried

_SECONDS = 3600


class Kit:
    """The files for one tool in a folder, made by the command ``launch``. ``programs`` has the tool."""

    def __init__(
        self, tried: Tried, tool: str, folder: Path, programs: Path, clouds: Path, *words: str
    ) -> None:
        self.folder = folder
        own = {name: value for name, value in os.environ.items() if not name.startswith("OS_")}
        self.environment = {
            **own,
            "PATH": f"{programs}:{own['PATH']}",
            "OS_CLIENT_CONFIG_FILE": str(clouds),
            "TMPDIR": str(folder),
        }
        folder.mkdir()
        launch = [COMMAND, "--root", str(tried.root), "launch", tried.name, "--print", tool]
        run([*launch, "--to", str(folder / "kit"), *words], self.environment, folder)

    def script(self, *words: str, **settings: str) -> str:
        """Run the script of the kit for the program openstack."""
        return run(["sh", "kit/server.sh", *words], {**self.environment, **settings}, self.folder)

    def play(self, book: str, **settings: str) -> str:
        """Run a playbook of the kit for Ansible."""
        quiet = {"ANSIBLE_LOCALHOST_WARNING": "false", "ANSIBLE_INVENTORY_UNPARSED_WARNING": "false"}
        home = {"ANSIBLE_HOME": str(self.folder / ".ansible"), "ANSIBLE_NOCOLOR": "1"}
        words = [word for name, value in settings.items() for word in ("-e", f"{name}={value}")]
        return run(
            ["ansible-playbook", f"kit/{book}.yml", *words],
            {**self.environment, **quiet, **home},
            self.folder,
        )


def run(words: list[str], environment: Mapping[str, str], folder: Path) -> str:
    """What a program writes. Raises Broken where it fails."""
    done = subprocess.run(
        words, env={**environment}, cwd=folder, capture_output=True, text=True, timeout=_SECONDS
    )
    if done.returncode:
        raise Broken(
            f"{' '.join(words[:4])} ends with {done.returncode}: {(done.stdout + done.stderr)[-1500:]}"
        )
    return done.stdout + done.stderr
