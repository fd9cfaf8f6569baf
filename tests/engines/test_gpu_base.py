"""The VM base with NVIDIA's driver, in a machine without a GPU: its modules are there; what lacks is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagefactory.guest import BootOptions, Seed, boot, open_disk
from imagefactory.model.recipe import Needs
from imagefactory.system.processes import Stop
from imagefactory.targets.vm.gpu import GPU_LINKS, gpu_files
from tests.engines.conftest import shared_folder
from tests.engines.machines import SSH_SECONDS
from tests.engines.planting import planted
from tests.engines.vmbase import disk_of
from tests.unit.samples import GPU, image

pytestmark = [pytest.mark.timeout(7200), pytest.mark.long]
NO_GPU = "GPU: no NVIDIA GPU is in this machine, so An application runs on the processor, slowly:"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return disk_of("debian-13-gpu-vm", shared_folder(tmp_path_factory))


def test_the_modules_are_built_and_nobody_has_their_key(base: Path, tmp_path: Path) -> None:
    with open_disk(base, tmp_path, Stop()) as disk:
        assert disk.glob("/lib/modules/*/nvidia-current.ko*") or disk.glob("*/dkms/nvidia-current.ko*")
        assert disk.exists("/usr/lib/nvidia/current/nvidia-smi")
        assert not disk.glob("*/mok.*")
        assert disk.links(["/etc/modules-load.d/nvidia.conf"]) == {
            "/etc/modules-load.d/nvidia.conf": "/dev/null"
        }
        assert not disk.glob("/var/lib/dkms/*.log")


def test_a_machine_without_a_gpu_says_so(base: Path, tmp_path: Path) -> None:
    disk = planted(base, gpu_files(image(needs=Needs(gpu=GPU))), GPU_LINKS, tmp_path)
    with boot(disk, BootOptions(seed=Seed(hostname="gpu")), tmp_path, Stop()) as guest:
        guest.wait_for_ssh(SSH_SECONDS)
        done = guest.run(
            "systemctl is-system-running --wait; systemctl --failed --plain --no-legend", timeout=600
        )
        assert done.output == "running\n"
        assert guest.run("cat /run/imagefactory/notes/gpu").output.startswith(NO_GPU)
        said = guest.run("journalctl --output=cat --unit imagefactory-gpu", user="root", timeout=120)
        assert NO_GPU in said.output
        version = guest.run("modinfo -F version nvidia-current", user="root").output
        assert version.startswith("550.")
        guest.powerdown(300)
