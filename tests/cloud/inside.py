"""The part of a run that has a network of its own: the cloud, and all that is done there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.cloud.apart import settle
from tests.cloud.cloud import ADMIN, USER, cloud
from tests.cloud.services import Broken
from tests.cloud.steps import Trial, interrupt_packer, try_packer, try_playbooks, try_script, upload_images
from tests.cloud.tried import Tried
from tests.cloud.watch import Watch
from tests.upstreams.openstack import CannotStart

_HELP = f"""
A shell in the cloud's network. OS_CLOUD is {USER}, a member of a project; {ADMIN} may do all.
  openstack image list
  imagefactory launch NAME --print openstack --cloud {USER} >server.sh && sh server.sh up
  ssh debian@ADDRESS
exit ends the cloud, with all that is in it.
"""


def main(order: dict[str, Any]) -> int:
    """Do what an order says, in its folder; the exit status."""
    began = time.monotonic()

    def say(line: str) -> None:
        sys.stdout.write(f"{time.monotonic() - began:7.1f} s  {line}\n")
        sys.stdout.flush()

    folder, numbers = Path(order["folder"]), dict[str, float]()
    try:
        with (
            Watch() as watch,
            cloud(folder, Path(order["packages"]), order["virtualization"], say) as running,
        ):
            numbers["the cloud is up"] = round(time.monotonic() - began, 1)
            programs = {name: Path(place) for name, place in order["programs"].items()}
            trial = Trial(running, Tried.from_json(order["tried"]), folder, programs, say, numbers)
            image = upload_images(trial)
            if order["shell"]:
                return _shell(trial)
            try_script(trial, image)
            built = try_packer(trial)
            try_playbooks(trial, built)
            interrupt_packer(trial)
            if told := watch.that_tell([*running.identity.passwords.values(), running.password]):
                raise Broken(f"a password was among the words of {', '.join(told)}")
            say(f"no password among the words of {len(watch)} processes")
    except (Broken, CannotStart) as error:
        say(f"FAILED: {error}")
        return 1
    except KeyboardInterrupt:
        say("interrupted")
        return 130
    finally:
        Path(order["report"]).write_text(json.dumps({"seconds": numbers}, indent=2) + "\n")
    say("all of it works")
    return 0


def _shell(trial: Trial) -> int:
    programs = ":".join(map(str, trial.programs.values()))
    sys.stdout.write(_HELP.replace("NAME", trial.tried.name))
    sys.stdout.flush()
    environment = {
        **os.environ,
        "PATH": f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "OS_CLOUD": USER,
        "PS1": "cloud$ ",
    }
    subprocess.run(["bash", "--norc"], cwd=trial.tried.root, env=environment)
    return 0


if __name__ == "__main__":
    settle()
    sys.exit(main(json.loads(Path(sys.argv[1]).read_text())))
