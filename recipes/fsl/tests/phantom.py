# ruff: noqa: ANN001, ANN002, ANN201, T201
"""Makes images of which the answer is known, and measures what came of them.

    python phantom.py NAME ARGUMENTS...

Voxels are cubes of 2 mm, 96 a side. The first axis runs from right to left, as in FSL's own templates, so
that FSL's coordinates in mm are voxel numbers times 2.
"""

import sys

import nibabel
import numpy as np

SIDE, STEP = 96, 2.0
AFFINE = np.diag([-STEP, STEP, STEP, 1.0])
MIDDLE = (SIDE - 1) / 2 * STEP


def radius(*centre):
    """Of every voxel, the distance in mm from a point that is given in mm from the middle."""
    places = np.meshgrid(*[np.arange(SIDE) * STEP - MIDDLE - c for c in centre], indexing="ij")
    return np.sqrt(sum(place**2 for place in places))


def save(name, data):
    nibabel.save(nibabel.Nifti1Image(data.astype(np.float32), AFFINE), name)


def load(name):
    return nibabel.load(name).get_fdata()


def noise(seed):
    return np.random.default_rng(seed).normal(0, 10, (SIDE,) * 3)


def ball():
    """One ball of 40 mm, of value 100."""
    save("ball.nii.gz", 100 * (radius(0, 0, 0) <= 40))


def head():
    """A brain of 60 mm, dark fluid around it, a dark skull, and a bright scalp."""
    r = radius(0, 0, 0)
    save("head.nii.gz", np.select([r <= 60, r <= 68, r <= 76, r <= 84], [800, 200, 50, 900], 0) + noise(1))
    save("brain_truth.nii.gz", r <= 60)
    save("skull_truth.nii.gz", (r > 68) & (r <= 84))


def moved():
    """Three soft blobs, and the same moved by 6, -4 and 3 mm."""
    blobs = ((0, 0, 0, 36, 500), (30, 14, -8, 14, 400), (-18, -34, 22, 10, 600))
    for seed, name, shift in ((1, "fixed.nii.gz", (0, 0, 0)), (2, "moving.nii.gz", (6, -4, 3))):
        soft = [
            value * np.exp(-((radius(*np.add(centre, shift)) / width) ** 2))
            for *centre, width, value in blobs
        ]
        save(name, sum(soft) + 0.1 * noise(seed))


def tissues():
    """Two tissues: a bright ball of 40 mm in a darker one of 60 mm."""
    r = radius(0, 0, 0)
    save("tissues.nii.gz", np.where(r <= 60, np.where(r <= 40, 900, 500) + noise(1), 0))


def matrix(name):
    """By how much a matrix of flirt's moves the middle, and how far it is from turning nothing."""
    found = np.loadtxt(name)[:3]
    moves = found @ [MIDDLE, MIDDLE, MIDDLE, 1] - MIDDLE
    for axis, value in zip("xyz", moves, strict=True):
        print(f"{axis} = {value:.4f}")
    print(f"turn = {np.abs(found[:, :3] - np.eye(3)).max():.5f}")


def bright(label, name):
    """The share of a picture that is bright."""
    from matplotlib import image

    print(f"{label} {(image.imread(name)[..., :3].mean(axis=2) > 0.5).mean():.4f}")


def share(label, part, whole):
    """The share of an image's voxels that are also in another one."""
    print(f"{label} {((load(part) > 0) & (load(whole) > 0)).sum() / (load(whole) > 0).sum():.4f}")


name, *arguments = sys.argv[1:]
{f.__name__: f for f in (ball, head, moved, tissues, matrix, bright, share)}[name](*arguments)
