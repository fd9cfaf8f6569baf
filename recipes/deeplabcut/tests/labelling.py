"""Opens labelled frames in napari, as the GUI does, and looks at what OpenGL drew. It needs a screen."""
# ruff: noqa: T201

from pathlib import Path

import cv2
import napari
import numpy as np
import pandas as pd
from qtpy.QtWidgets import QApplication

POINTS = {"nose": (30.0, 20.0), "tail": (60.0, 70.0)}


def labelled_folder() -> Path:
    folder = Path("labeled-data", "video")
    folder.mkdir(parents=True)
    image = np.random.default_rng(1).integers(0, 255, (96, 128, 3), dtype=np.uint8)
    cv2.imwrite(str(folder / "img00.png"), image)
    columns = pd.MultiIndex.from_product(
        [["tester"], POINTS, ["x", "y"]], names=["scorer", "bodyparts", "coords"]
    )
    index = pd.MultiIndex.from_tuples([("labeled-data", "video", "img00.png")])
    row = [c for point in POINTS.values() for c in point]
    pd.DataFrame([row], index=index, columns=columns).to_hdf(
        folder / "CollectedData_tester.h5", key="df_with_missing", mode="w"
    )
    return folder


def main() -> None:
    viewer = napari.Viewer()
    viewer.open(str(labelled_folder()), plugin="napari-deeplabcut")
    for _ in range(20):
        QApplication.processEvents()
    for layer in viewer.layers:
        print("layer", type(layer).__name__)
    (points,) = [layer for layer in viewer.layers if isinstance(layer, napari.layers.Points)]
    labels = zip(points.properties["label"], points.data, strict=True)
    print("points", *sorted(f"{label}={place[-1]:.0f},{place[-2]:.0f}" for label, place in labels))
    canvas = viewer.screenshot(canvas_only=True)
    print("colours drawn:", len(np.unique(canvas.reshape(-1, canvas.shape[-1]), axis=0)))
    viewer.close()


if __name__ == "__main__":
    main()
