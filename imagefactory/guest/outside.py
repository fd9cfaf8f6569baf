"""What machines need that another program starts, such as Packer."""

from __future__ import annotations

from pathlib import Path

from imagefactory.guest.seed import Seed, seed_files
from imagefactory.guest.ssh import make_key
from imagefactory.system.files import make_folder


def key_and_seed(seed: Seed, folder: Path) -> Path:
    """Write a NoCloud seed's files into a new folder, and beside them a private key that it lets in: the path
    of that.

    Raises OSError, and what making a key raises.
    """
    make_folder(folder)
    folder.chmod(0o700)
    public = make_key(folder)
    for name, data in seed_files(seed, public, network=True).items():
        (folder / name).write_bytes(data)
    return folder / "key"
