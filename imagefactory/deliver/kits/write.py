"""A kit's files in a folder, beside what tools keep there, such as Terraform its state."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from imagefactory.errors import BadInput
from imagefactory.model.spec import File
from imagefactory.system.files import make_folder, write_file


def write_kit(files: Iterable[File], to: Path) -> tuple[Path, ...]:
    """Write files into ``to`` and say where they are. What is there already and the same stays.

    Raises BadInput, before anything is written, where a file is there and says something else, and
    BuildFailed where one can't be written; nothing of this call is left then.
    """
    wanted = {to / file.path: file for file in files}
    others = [path for path, file in wanted.items() if not _may_be_written(path, file)]
    if to.exists() and not to.is_dir():
        others = [to]
    if others:
        raise BadInput(
            f"{', '.join(str(path) for path in others)}: there is something else already",
            hint="move it away, or give another folder with --to",
        )
    made_folder = not to.exists()
    make_folder(to)
    missing = [path for path in wanted if not path.exists()]
    try:
        for path in missing:
            write_file(path, wanted[path].data)
            path.chmod(wanted[path].mode)
    except BaseException:
        for path in missing:
            path.unlink(missing_ok=True)
        if made_folder:
            to.rmdir()
        raise
    return tuple(wanted)


def _may_be_written(path: Path, file: File) -> bool:
    if path.is_symlink() or (path.exists() and not path.is_file()):
        return False
    return not path.exists() or path.read_bytes() == file.data
