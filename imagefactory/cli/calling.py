"""How this program is called here, so that a command in a hint can be pasted."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from pathlib import Path

NAME = "imagefactory"


def pasteable(text: str) -> str:
    """A text whose commands (``imagefactory build fsl``) work where the caller is."""
    from imagefactory.cli.main import cli  # which is read by now

    commands = "|".join(cli.commands)
    called, root = program(), _root()
    text = re.sub(rf"(?<![\w/.-]){NAME} (?=--root )", lambda _: f"{called} ", text)
    return re.sub(rf"(?<![\w/.-]){NAME} (?=(?:{commands})\b)", lambda _: f"{called} {root}", text)


def program() -> str:
    """The program as a shell here finds it: by its name, or by its path."""
    path = Path(sys.argv[0])
    if path.name == "__main__.py":
        return f"{_shown(Path(sys.executable))} -m {NAME}"
    found = shutil.which(NAME)
    if path.name != NAME or (found and Path(found).resolve() == path.resolve()):
        return NAME
    return _shown(path)


def _shown(path: Path) -> str:
    """Relative where that is below this folder; a link, such as a virtual environment's Python, stays one."""
    absolute = path.absolute()
    try:
        return shlex.quote(str(absolute.relative_to(Path.cwd())))
    except ValueError:
        return shlex.quote(str(absolute))


def _root() -> str:
    """The word --root that was given, for the next command needs it too."""
    for at, word in enumerate(sys.argv[1:], start=1):
        if word == "--root" and at + 1 < len(sys.argv):
            return f"--root {shlex.quote(sys.argv[at + 1])} "
        if word.startswith("--root="):
            return f"{shlex.quote(word)} "
        if not word.startswith("-"):
            break
    return ""
