# ruff: noqa: ANN001, ANN003, ANN201, T201
"""One day of a point source with gtobssim, and what gtselect then chooses of it."""

import subprocess
from pathlib import Path

import numpy as np
from astropy.io import fits
from matplotlib import pyplot

RA, DEC = 83.63, 22.01
SOURCE = f"""\
<source_library title="test">
  <source name="steady" flux="0.2">
    <spectrum escale="MeV">
      <particle name="gamma"><power_law emin="1000" emax="100000" gamma="2"/></particle>
      <celestial_dir ra="{RA}" dec="{DEC}"/>
    </spectrum>
  </source>
</source_library>
"""
CONE, EMIN, EMAX = 3.0, 1000.0, 10000.0


def tool(name, **parameters):
    """Run one of the Fermitools without a question, and show what it says only where it fails."""
    words = [name, *(f"{key}={value}" for key, value in parameters.items()), "mode=h"]
    done = subprocess.run(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(words)}: exit status {done.returncode}\n{done.stdout[-4000:]}")


def distance(ra, dec):
    """Degrees from the source."""
    x, y = np.radians(ra), np.radians(dec)
    x0, y0 = np.radians(RA), np.radians(DEC)
    half = np.sin((y - y0) / 2) ** 2 + np.cos(y) * np.cos(y0) * np.sin((x - x0) / 2) ** 2
    return np.degrees(2 * np.arcsin(np.sqrt(half)))


Path("source.xml").write_text(SOURCE)
Path("names.txt").write_text("steady\n")
tool(
    "gtobssim",
    infile="source.xml",
    srclist="names.txt",
    scfile="none",
    evroot="sim",
    simtime=86400,
    tstart=239557417,
    use_ac="no",
    emin=EMIN,
    emax=100000,
    irfs="P8R3_SOURCE_V3",
    seed=20080611,
)
events = fits.getdata("sim_events_0000.fits", "EVENTS")
# Of each source: its number, its name, how many photons came, and how many the telescope saw.
sources = [line.split() for line in Path("sim_srcIds.txt").read_text().splitlines()]
seen = next(int(words[3]) for words in sources if words[1:2] == ["steady"])
print(f"simulated: {len(events)}")
print(f"written: {len(events) / seen:.4f}")
print(f"off by {distance(np.median(events['RA']), np.median(events['DEC'])):.4f}")

tool(
    "gtselect",
    infile="sim_events_0000.fits",
    outfile="selected.fits",
    ra=RA,
    dec=DEC,
    rad=CONE,
    tmin="INDEF",
    tmax="INDEF",
    emin=EMIN,
    emax=EMAX,
    zmax=180,
)
inside = distance(events["RA"], events["DEC"]) <= CONE
expected = int(np.sum(inside & (events["ENERGY"] >= EMIN) & (events["ENERGY"] <= EMAX)))
selected = fits.getdata("selected.fits", "EVENTS")
print(f"selected: {len(selected)}, by their columns: {expected}")
print(f"chosen otherwise: {abs(len(selected) - expected)}")

tool(
    "gtbin",
    algorithm="CMAP",
    evfile="selected.fits",
    outfile="counts.fits",
    scfile="NONE",
    nxpix=60,
    nypix=60,
    binsz=0.1,
    coordsys="CEL",
    xref=RA,
    yref=DEC,
    axisrot=0,
    proj="AIT",
)
pyplot.imshow(fits.getdata("counts.fits", 0), origin="lower")
pyplot.savefig("counts.png")

parameters = Path.home() / "pfiles"
if all((parameters / f"{name}.par").is_file() for name in ("gtobssim", "gtselect", "gtbin")):
    print("parameters are remembered")
