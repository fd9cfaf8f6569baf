"""DeepLabCut's whole way on a synthetic video: project, labels, training, evaluation, analysis.

Two discs move along known paths over noise. The network begins from random weights, for those that
DeepLabCut would download are not in the image: two epochs prove that every step works, not that the network
is good.
"""
# ruff: noqa: T201

import csv
import math
from pathlib import Path

import cv2
import deeplabcut
import numpy as np
import pandas as pd
import torch
from deeplabcut.pose_estimation_pytorch.models import PoseModel
from deeplabcut.utils.auxiliaryfunctions import edit_config, read_plainconfig

FRAMES, WIDTH, HEIGHT = 40, 160, 128
PARTS = {"nose": (255, 64, 64), "tail": (64, 64, 255)}
SCORER = "tester"


def place(part: str, frame: int) -> tuple[float, float]:
    """Where the middle of a disc is in a frame."""
    turn = 2 * math.pi * frame / FRAMES + (math.pi if part == "tail" else 0)
    return WIDTH / 2 + 50 * math.cos(turn), HEIGHT / 2 + 35 * math.sin(turn)


def film(path: Path) -> None:
    noise = np.random.default_rng(1)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 20, (WIDTH, HEIGHT))
    for frame in range(FRAMES):
        image = noise.integers(0, 60, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        for part, colour in PARTS.items():
            cv2.circle(image, tuple(round(c) for c in place(part, frame)), 6, colour, -1)
        writer.write(image)
    writer.release()


def label(folder: Path) -> int:
    """Write what a person would have clicked. Returns the number of labelled frames."""
    images = sorted(folder.glob("img*.png"))
    columns = pd.MultiIndex.from_product(
        [[SCORER], PARTS, ["x", "y"]], names=["scorer", "bodyparts", "coords"]
    )
    rows = [[c for part in PARTS for c in place(part, int(i.stem.removeprefix("img")))] for i in images]
    index = pd.MultiIndex.from_tuples([("labeled-data", folder.name, i.name) for i in images])
    labels = pd.DataFrame(rows, index=index, columns=columns)
    labels.to_csv(folder / f"CollectedData_{SCORER}.csv")
    labels.to_hdf(folder / f"CollectedData_{SCORER}.h5", key="df_with_missing", mode="w")
    return len(images)


def random_weights(settings: Path) -> Path:
    """Weights to begin with, in place of those from the internet."""
    torch.manual_seed(1)
    model = PoseModel.build(read_plainconfig(settings)["model"], pretrained_backbone=False)
    path = Path("random.pt").absolute()
    torch.save({"model": model.state_dict(), "metadata": {"epoch": 0}}, path)
    return path


def report(path: Path) -> None:
    with path.open(newline="") as file:
        rows = [row for row in csv.reader(file) if row[0].isdigit()]
    numbers = [float(value) for row in rows for value in row[1:]]
    print("frames analysed:", len(rows))
    print("numbers per frame:", len(numbers) / len(rows))
    print("numbers that are not finite:", sum(not math.isfinite(n) for n in numbers))


def main() -> None:
    video = Path("discs.avi").absolute()
    film(video)
    here = str(Path.cwd())
    config = Path(deeplabcut.create_new_project("discs", SCORER, [str(video)], here, copy_videos=True))
    points = list(PARTS)
    edit_config(
        str(config),
        {"bodyparts": points, "skeleton": [points], "numframes2pick": 10, "TrainingFraction": [0.8]},
    )
    deeplabcut.extract_frames(str(config), mode="automatic", algo="uniform", userfeedback=False)
    print("frames labelled:", label(config.parent / "labeled-data" / video.stem))

    deeplabcut.create_training_dataset(str(config), net_type="resnet_50", userfeedback=False)
    (settings,) = config.parent.glob("dlc-models-pytorch/**/train/pytorch_config.yaml")
    deeplabcut.train_network(
        str(config),
        epochs=2,
        save_epochs=2,
        batch_size=2,
        display_iters=1,
        snapshot_path=random_weights(settings),
    )
    statistics = pd.read_csv(settings.parent / "learning_stats.csv")
    losses = statistics["losses/train.total_loss"]
    print("epochs trained:", len(losses))
    print("last training loss:", losses.iloc[-1])

    deeplabcut.evaluate_network(str(config))
    (results,) = config.parent.glob("evaluation-results-pytorch/*/CombinedEvaluation-results.csv")
    errors = pd.read_csv(results)
    print("test error (pixels):", errors["test rmse"].iloc[0])

    out = Path("analysed")
    deeplabcut.analyze_videos(str(config), [str(video)], save_as_csv=True, destfolder=str(out))
    (found,) = out.glob("*.csv")
    report(found)


if __name__ == "__main__":
    main()
