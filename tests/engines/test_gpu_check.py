"""What an image says about the GPU when it starts, with programs that stand in for nvidia-smi."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.samples import everything, rendered, spec

FULL = "driver_version,compute_cap,name"
Run = Callable[..., subprocess.CompletedProcess[str]]

NO_GPU = (
    "app: no NVIDIA GPU is visible here, so it runs on the processor, slowly: "
    "start it with --gpus all (Docker) or --nv (Apptainer)"
)


def smi(*lines: str, status: int = 0, knows_capability: bool = True) -> str:
    """A program that answers as nvidia-smi does; old ones do not know of compute capabilities."""
    refuse = "echo 'Field \"compute_cap\" is not a valid field to query.'; exit 2"
    answers = "\n".join(f"echo '{line}'" for line in lines)
    return f"""#!/bin/sh
case $1 in
    --query-gpu={FULL}) {"" if knows_capability else refuse} ;;
    --query-gpu=driver_version) ;;
    *) echo "unknown words: $*"; exit 9 ;;
esac
[ "$2" = --format=csv,noheader ] || exit 9
{answers}
exit {status}
"""


@pytest.fixture(autouse=True)
def engines() -> None:
    """These tests need no engine."""


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Start the application, which says "ran", on a machine with that nvidia-smi."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "sort", "head", "printf", "mkdir", "id", "stat"):
        found = shutil.which(name)
        assert found
        (folder / name).symlink_to(found)
    files = {file.path: file.data.decode() for file in rendered(spec(image=everything()))}
    for name in ("entrypoint.sh", "home.sh", "environment.sh", "gpu.sh"):
        text = files[name].replace("/etc/imagefactory/", f"{tmp_path}/")
        (tmp_path / name).write_text(text)
    home = tmp_path / "home"
    home.mkdir()

    def start(program: str | None, **environment: str) -> subprocess.CompletedProcess[str]:
        if program is not None:
            (folder / "nvidia-smi").write_text(program)
            (folder / "nvidia-smi").chmod(0o755)
        # No other folder: this machine may have a GPU of its own.
        variables = {"PATH": str(folder), "HOME": str(home), **environment}
        done = subprocess.run(
            ["sh", str(tmp_path / "entrypoint.sh"), "sh", "-c", "echo ran; exit 3"],
            env=variables,
            capture_output=True,
            text=True,
            timeout=60,
        )
        # Whatever it says, the application runs, and has its output to itself.
        assert (done.stdout, done.returncode) == ("ran\n", 3), done
        return done

    return start


FITS = "550.54.15, 8.0, NVIDIA A100-SXM4-40GB"


@pytest.mark.parametrize(
    ("program", "said"),
    [
        (None, [NO_GPU]),
        (smi("No devices were found", status=6), [NO_GPU]),
        (smi(status=0), [NO_GPU]),
        (
            smi("NVIDIA-SMI has failed because it could not communicate with the NVIDIA driver.", status=9),
            [NO_GPU],
        ),
        (smi(FITS), []),
        # The oldest driver that will do, to the last number.
        (smi("525.60.13, 8.0, NVIDIA A100"), []),
        # A newer one of the same generation: programs for 8.0 run on 8.6 and 8.9.
        (smi("550.54.15, 8.6, NVIDIA RTX A6000"), []),
        (smi("550.54.15, 7.5, Tesla T4", "550.54.15, 9.0, NVIDIA H100 80GB HBM3"), []),
        (
            smi("525.60.9, 8.0, NVIDIA A100"),
            [
                (
                    "app: the driver is 525.60.9, and CUDA 12.4 needs 525.60.13 or newer: "
                    "ask for a newer driver on this machine, or take an image without GPU"
                )
            ],
        ),
        (
            smi("550.54.15, 7.0, Tesla V100-SXM2-32GB"),
            [
                (
                    "app: Tesla V100-SXM2-32GB has compute capability 7.0, and this image was built for "
                    "7.5, 8.0, 9.0: take another GPU, another version of the image, or one without GPU"
                )
            ],
        ),
        (
            smi("570.86.10, 12.0, NVIDIA GeForce RTX 5090"),
            [
                (
                    "app: NVIDIA GeForce RTX 5090 has compute capability 12.0, and this image was built for "
                    "7.5, 8.0, 9.0: take another GPU, another version of the image, or one without GPU"
                )
            ],
        ),
        # One of two is wrong: the one is named.
        (
            smi(FITS, "550.54.15, 6.1, Quadro P4000"),
            [
                (
                    "app: Quadro P4000 has compute capability 6.1, and this image was built for "
                    "7.5, 8.0, 9.0: take another GPU, another version of the image, or one without GPU"
                )
            ],
        ),
        # An old nvidia-smi does not say more than its driver.
        (smi("550.54.15", knows_capability=False), []),
        (
            smi("470.82.01", knows_capability=False),
            [
                (
                    "app: the driver is 470.82.01, and CUDA 12.4 needs 525.60.13 or newer: "
                    "ask for a newer driver on this machine, or take an image without GPU"
                )
            ],
        ),
    ],
)
def test_what_is_wrong_is_said_and_no_more(run: Run, program: str | None, said: list[str]) -> None:
    assert run(program).stderr.splitlines() == said


def test_who_knows_better_leaves_it_out(run: Run) -> None:
    assert run(None, IMAGEFACTORY_GPU_CHECK="off").stderr == ""
    assert run(None, IMAGEFACTORY_GPU_CHECK="on").stderr.splitlines() == [NO_GPU]
