"""What is inside, and that it fits together; no GPU is needed to say for which ones it was built."""
# ruff: noqa: T201

import shutil
import subprocess
from pathlib import Path

import deeplabcut
import torch
import torchvision
from deeplabcut.pose_estimation_pytorch.models.backbones.base import HuggingFaceWeightsMixin
from deeplabcut.pose_estimation_pytorch.modelzoo.utils import get_snapshot_folder_path


def main() -> None:
    print("deeplabcut", deeplabcut.__version__)
    print("torch", torch.__version__.partition("+")[0], "for CUDA", torch.version.cuda)
    print("torchvision", torchvision.__version__.partition("+")[0])
    print("architectures", *torch.cuda.get_arch_list())

    # A torchvision for another torch imports, but lacks its operators.
    boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0], [1.0, 1.0, 10.0, 10.0], [50.0, 50.0, 60.0, 60.0]])
    kept = torchvision.ops.nms(boxes, torch.tensor([0.9, 0.8, 0.7]), 0.5)
    print("boxes kept", *kept.tolist())

    for folder in (get_snapshot_folder_path(), HuggingFaceWeightsMixin().backbone_weight_folder):
        folder.mkdir(parents=True)
        print("weights in", folder.relative_to(Path.home()))

    ffmpeg = subprocess.run(["ffmpeg", "-version"], check=True, capture_output=True, text=True).stdout
    print(shutil.which("ffmpeg"), *ffmpeg.split()[1:3])


if __name__ == "__main__":
    main()
