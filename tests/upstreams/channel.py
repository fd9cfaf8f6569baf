"""Small conda channels, indexed by rattler, and packages that stand in for those of our recipes.

Every program in them says that it is a stand-in.
"""

from __future__ import annotations

import asyncio
import bz2
import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import rattler

PLACEHOLDER = "/opt/placehold_placehold_placehold_placehold"
"""What a text file holds where the prefix goes that it is installed in."""

_PROGRAM = """\
#!/bin/sh
# A stand-in for @NAME@, which serves tests.
case ${1:-} in --version | --help) echo "@NAME@ is a stand-in, in @PREFIX@"; exit 0 ;; esac
echo "@NAME@ is a stand-in and does nothing" >&2
exit 1
"""


@dataclass(frozen=True)
class Package:
    """One package. ``files`` are texts by their path below the prefix; those in ``bin/`` can be run.

    ``post_link`` is a script that runs when the package is installed. With ``entry_points``, such as
    ``app = app:main``, it is a package for any Python, whose modules are below ``site-packages/``.
    """

    name: str
    version: str = "1.0"
    build: str = "0"
    subdir: str = "noarch"
    depends: Sequence[str] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    post_link: str = ""
    entry_points: Sequence[str] = ()


def make_channel(folder: Path, packages: Iterable[Package]) -> None:
    """Write the packages into ``folder``, with bytes that depend on them alone, and index it."""
    for subdir in ("noarch", "linux-64"):
        (folder / subdir).mkdir(parents=True, exist_ok=True)
    for package in packages:
        file = f"{package.name}-{package.version}-{package.build}.tar.bz2"
        (folder / package.subdir / file).write_bytes(_archive(package))
    asyncio.run(rattler.index.index_fs(folder))


def _archive(package: Package) -> bytes:
    """https://docs.conda.io/projects/conda-build/en/stable/resources/package-spec.html"""
    files = {path: text.replace("@PREFIX@", PLACEHOLDER).encode() for path, text in package.files.items()}
    if package.post_link:
        files[f"bin/.{package.name}-post-link.sh"] = package.post_link.encode()
    index: dict[str, object] = {
        "name": package.name,
        "version": package.version,
        "build": package.build,
        "build_number": 0,
        "depends": list(package.depends),
        "subdir": package.subdir,
        "license": "LicenseRef-stand-in",
    }
    if package.subdir == "noarch":
        index["noarch"] = "python" if package.entry_points else "generic"
    else:
        index |= {"arch": "x86_64", "platform": "linux"}
    paths = {"paths": [_path(name, data) for name, data in sorted(files.items())], "paths_version": 1}
    content = {
        "info/index.json": json.dumps(index).encode(),
        "info/paths.json": json.dumps(paths).encode(),
        "info/files": "".join(f"{name}\n" for name in sorted(files)).encode(),
        "info/about.json": json.dumps({"summary": "a stand-in that serves tests"}).encode(),
        **dict(sorted(files.items())),
    }
    if package.entry_points:
        link = {"noarch": {"type": "python", "entry_points": list(package.entry_points)}}
        content["info/link.json"] = json.dumps({**link, "package_metadata_version": 1}).encode()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, data in content.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime = len(data), 1_700_000_000
            entry.mode = 0o755 if name.startswith("bin/") else 0o644
            archive.addfile(entry, io.BytesIO(data))
    return bz2.compress(buffer.getvalue())


def _path(name: str, data: bytes) -> dict[str, object]:
    found: dict[str, object] = {
        "_path": name,
        "path_type": "hardlink",
        "sha256": hashlib.sha256(data).hexdigest(),
        "size_in_bytes": len(data),
    }
    if PLACEHOLDER.encode() in data:
        found |= {"prefix_placeholder": PLACEHOLDER, "file_mode": "text"}
    return found


def _programs(*names: str) -> dict[str, str]:
    return {f"bin/{name}": _PROGRAM.replace("@NAME@", name) for name in names}


def conda_forge_stand_ins() -> list[Package]:
    """What our recipes take from conda-forge, in versions within their limits, and some beyond."""
    libraries = {
        "numpy": ("1.26.4", "2.3.0"),
        "astropy": ("7.1.0", "8.0.0"),
        "regions": ("0.11", "0.12"),
        "scipy": ("1.17.1", "1.18.0"),
        "gammapy": ("2.0.1", "1.3"),
        "healpy": ("1.18.0",),
        "astropy-healpix": ("1.1.2",),
        "matplotlib": ("3.10.5",),
    }
    python = Package(
        "python",
        "3.11.13",
        subdir="linux-64",
        depends=["__glibc >=2.17,<3.0.a0"],
        files=_programs("python", "python3", "python3.11"),
    )
    found = [python, Package("python", "3.13.5", subdir="linux-64", files=_programs("python", "python3"))]
    found += [
        Package(name, version, subdir="linux-64", depends=["python"])
        for name, versions in libraries.items()
        for version in versions
    ]
    found.append(Package("ipython", "9.4.0", depends=["python"], files=_programs("ipython")))
    jupyter = Package(
        "jupyterlab",
        "4.4.5",
        depends=["python", "ipython"],
        files={"site-packages/jupyterlab/__init__.py": "# a stand-in\n"},
        entry_points=["jupyter = jupyterlab:main", "jupyter-lab = jupyterlab:main"],
    )
    needs = ["fermitools", "numpy", "astropy", "scipy", "matplotlib"]
    found += [jupyter, Package("fermipy", "1.4.1", depends=needs)]
    # It also has what the channels before it have: their own are to be taken.
    found.append(Package("fermitools-data", "9.9.9", files=_programs("wrong-channel")))
    found.append(Package("fslpy", "9.9.9", files=_programs("wrong-channel")))
    return found


def fermi_stand_ins() -> list[Package]:
    """The channel fermi."""
    tools = (
        "gtselect gtmktime gtvcut gtbin gtltcube gtexpcube2 gtexpmap gtsrcmaps gtdiffrsp gtmodel gtlike "
        "gttsmap gtfindsrc gtobssim gtbary"
    )
    data, site = "share/fermitools", "lib/python3.11/site-packages/fermitools"
    fermitools = Package(
        "fermitools",
        "2.5.1",
        build="py311_0",
        subdir="linux-64",
        depends=["python >=3.11,<3.12.0a0", "numpy 1.26.*", "fermitools-data", "__glibc >=2.17"],
        files={
            **_programs(*tools.split()),
            f"{data}/syspfiles/gtselect.par": "# a stand-in\n",
            f"{site}/GtBurst/gtapps_mp/gtdiffrsp_mp.py": "#!/usr/bin/env python\n",
        },
    )
    caldb = {
        f"{data}/data/caldb/software/tools/caldb.config": "# a stand-in\n",
        f"{data}/data/caldb/software/tools/alias_config.fits": "a stand-in\n",
    }
    return [
        fermitools,
        Package("fermitools-data", "0.18", files=caldb),
    ]


_FSL = {
    "fsl-avwutils": (
        "2209.6",
        "fslmaths fslstats fslinfo fslhd fslmerge fslsplit fslroi fslreorient2std",
    ),
    "fsl-bet2": ("2111.9", "bet bet2"),
    "fsl-flirt": ("2111.4", "flirt convert_xfm"),
    "fsl-basil": ("2203.2", "basil"),
    "fsl-bianca": ("2203.3", "bianca"),
    "fsl-cluster": ("2203.1", "cluster"),
    "fsl-eddy": ("2309.5", "eddy"),
    "fsl-fabber_core": ("2206.0", "fabber"),
    "fsl-fabber_models_asl": ("2206.0", "fabber_asl"),
    "fsl-fast4": ("2111.3", "fast"),
    "fsl-fdt": ("2309.0", "dtifit"),
    "fsl-feat5": ("2201.4", "feat"),
    "fsl-film": ("2111.0", "film_gls"),
    "fsl-first": ("2203.0", "first run_first_all"),
    "fsl-flameo": ("2111.0", "flameo"),
    "fsl-fnirt": ("2203.2", "fnirt applywarp convertwarp invwarp"),
    "fsl-fugue": ("2603.0", "fugue prelude"),
    "fsl-mcflirt": ("2111.0", "mcflirt"),
    "fsl-melodic": ("2601.1", "melodic"),
    "fsl-misc_scripts": ("2203.0", "fsl_abspath"),
    "fsl-misc_tcl": ("2205.0", "fsl_gui"),
    "fsl-miscvis": ("2201.1", "slicer"),
    "fsl-mm": ("2111.0", "mm"),
    "fsl-oxford_asl": ("4.0.30", "oxford_asl"),
    "fsl-ptx2": ("2111.4", "probtrackx2 bedpostx"),
    "fsl-randomise": ("2203.3", "randomise"),
    "fsl-siena": ("2111.1", "siena"),
    "fsl-slicetimer": ("2203.1", "slicetimer"),
    "fsl-sub": ("2.8.4", "fsl_sub"),
    "fsl-susan": ("2111.0", "susan"),
    "fsl-swe": ("2111.0", "swe"),
    "fsl-tbss": ("2111.1", "tbss_1_preproc"),
    "fsl-topup": ("2203.5", "topup"),
    "fsl-utils": ("2203.4", "Text2Vest"),
    "fsl-xtract": ("2.0.5", "xtract"),
    "fsleyes": ("1.15.0", "fsleyes"),
    "fslpy": ("3.23.0", "imcp imtest"),
}


def fsl_stand_ins() -> list[Package]:
    """FSL's own channel."""
    base = Package(
        "fsl-base",
        "2507.2",
        subdir="linux-64",
        files={**_programs("fsltclsh", "fslwish"), "etc/fslconf/fsl.sh": "# a stand-in\n"},
        post_link='#!/bin/sh\nset -eu\nmkdir -p "$PREFIX/share/fsl"\n: >"$PREFIX/share/fsl/linked"\n',
    )
    brain = {"data/standard/MNI152_T1_2mm_brain_mask.nii.gz": "a stand-in\n"}
    found = [
        Package(name, version, subdir="linux-64", depends=["fsl-base"], files=_programs(*commands.split()))
        for name, (version, commands) in _FSL.items()
    ]
    return [
        base,
        *found,
        Package("fsl-data_standard", "2208.0", depends=["fsl-base"], files=brain),
        Package("fsl-data_atlases", "2103.0", depends=["fsl-base"]),
        Package("fsl-xtract_data", "1.4.0", depends=["fsl-base"]),
    ]
