"""What a SIF file says of itself, asked through spython."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from imagefactory.errors import BuildFailed
from imagefactory.system.processes import run
from imagefactory.targets.sif.engine import runtime


def inspect(sif: Path) -> Mapping[str, Any]:
    """``labels``, ``environment``, ``runscript``, ``test``, ``helpfile`` and ``deffile``, as the engine reads
    them. Raises BuildFailed where it can't.
    """
    done = run([sys.executable, "-m", "imagefactory.targets.sif.asked", str(sif.absolute())])
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        answer = {"message": done.stderr.split()}
    # On failure it returns what run_command said: a status and a message.
    if "attributes" not in answer:
        said = " ".join(map(str, answer.get("message") or ())).strip()
        raise BuildFailed(f"{sif}: {runtime()} can't read it: {said}")
    attributes: Mapping[str, Any] = answer["attributes"]
    return attributes
