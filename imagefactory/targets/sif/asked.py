"""Spython in a process of its own: it passes its whole environment on to the programs that it starts.

``python -m imagefactory.targets.sif.asked FILE`` writes what spython answers, as JSON.
"""

from __future__ import annotations

import json
import sys

from spython.main import get_client

from imagefactory.targets.sif.engine import runtime


def main() -> None:
    """Ask for all that there is."""
    client = get_client(quiet=True)
    # spython knows no other name than singularity, and ends the process where that is missing.
    client._init_command = lambda action, flags=None: [runtime(), action, *(flags or ())]  # noqa: SLF001
    sys.stdout.write(json.dumps(client.inspect(sys.argv[1], quiet=True)))


if __name__ == "__main__":
    main()
