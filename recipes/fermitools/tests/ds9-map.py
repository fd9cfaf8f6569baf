# ruff: noqa: ANN201, T201
"""A map with a bright square at its middle, and what ds9 made of it."""

import sys

import numpy as np
from astropy.io import fits
from matplotlib import image


def write():
    counts = np.zeros((100, 100), dtype=np.float32)
    counts[40:60, 40:60] = 100
    fits.writeto("map.fits", counts)


def read():
    picture = image.imread("map.png")[..., :3].mean(axis=2)
    rows, columns = picture.shape
    print(f"columns = {columns}")
    print(f"source = {picture[rows // 2, columns // 2]:.3f}")
    print(f"corner = {picture[rows // 5, columns // 5]:.3f}")


{"write": write, "read": read}[sys.argv[1]]()
