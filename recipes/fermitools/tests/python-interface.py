# ruff: noqa: T201
"""The libraries load, find the instrument's response in CALDB, and fermipy works with them."""

import pyIrfLoader
import pyLikelihood  # noqa: F401  the likelihood library must load
import UnbinnedAnalysis
from fermipy.gtanalysis import GTAnalysis  # noqa: F401  it loads all that fermipy is built on
from fermipy.spectrum import PowerLaw

assert UnbinnedAnalysis.UnbinnedAnalysis
print("UnbinnedAnalysis is there")

power_law = PowerLaw([1e-12, -2.0], scale=1000.0)
print(f"flux = {float(power_law.flux(1e3, 1e5)) / 1e-12:.4f}")

pyIrfLoader.Loader_go()
irfs = pyIrfLoader.IrfsFactory.instance()
area = sum(irfs.create(f"P8R3_SOURCE_V3::{half}").aeff().value(1e4, 0.0, 0.0) for half in ("FRONT", "BACK"))
print(f"effective area = {area:.0f}")
