"""What a SIF file says of itself, asked through spython."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spython.main import get_client

from imagefactory.errors import BuildFailed
from imagefactory.targets.sif.engine import runtime


def inspect(sif: Path) -> Mapping[str, Any]:
    """``labels``, ``environment``, ``runscript``, ``test``, ``helpfile`` and ``deffile``, as the engine reads
    them. Raises BuildFailed where it can't.
    """
    client = get_client(quiet=True)
    # spython knows no other name than singularity, and ends the process where that is missing.
    client._init_command = lambda action, flags=None: [runtime(), action, *(flags or ())]  # noqa: SLF001
    answer = client.inspect(str(sif), quiet=True)
    # On failure it returns what run_command said: a status and a message.
    if "attributes" not in answer:
        said = " ".join(map(str, answer.get("message") or ())).strip()
        raise BuildFailed(f"{sif}: {runtime()} can't read it: {said}")
    attributes: Mapping[str, Any] = answer["attributes"]
    return attributes
