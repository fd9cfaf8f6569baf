"""A file to what it describes, by the format that it is in."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from imagefactory.errors import BadFiles, BadInput, Problem
from imagefactory.importing.inert import inert
from imagefactory.importing.readers.neurocontainers import is_macro, read_neurocontainers
from imagefactory.importing.steps import Described
from imagefactory.yamlfiles import read_leniently

_MAX_BYTES = 8 << 20
_READS = (
    "import reads a build.yaml of neurocontainers, a specification of neurodocker in JSON, a text with its"
    " command line, and a Dockerfile: give --dockerfile where that is called otherwise"
)
_WORDS = re.compile(r"^\s*(?:\S+\s+)*?generate\s+(docker|singularity|apptainer)\b", re.MULTILINE)


def read_foreign(file: Path, *, dockerfile: bool = False) -> Described:
    """Read a recipe of another tool. Raises BadInput, or BadFiles with the place of what is wrong."""
    try:
        return _described(file, _read(file), dockerfile)
    except BadFiles as error:
        shown = BadFiles([replace(each, message=inert(each.message)) for each in error.problems])
        shown.hint = error.hint
        raise shown from None


def _described(file: Path, content: bytes, dockerfile: bool) -> Described:
    text = content.decode("utf-8", "replace").lstrip("\ufeff")
    if dockerfile or re.fullmatch(r"(?i)(.*\.)?dockerfile(\..*)?|containerfile", file.name):
        from imagefactory.importing.readers.dockerfile import read_dockerfile

        return read_dockerfile(text, file)
    if text.lstrip()[:1] == "{" and '"instructions"' in text:
        from imagefactory.importing.readers.neurodocker_json import read_json

        return read_json(text, file)
    if not re.search(r"^build\s*:", text, re.MULTILINE) and _WORDS.search(re.sub(r"\\\n", " ", text)):
        from imagefactory.importing.readers.neurodocker_words import read_words

        return read_words(text, file)
    try:
        return _recipe(content, file)
    except BadFiles as error:
        error.hint = error.hint or _READS
        raise


def _recipe(content: bytes, file: Path) -> Described:
    read = read_leniently(content, str(file))
    if is_macro(read):
        message = "this is a macro, which recipes include: import a build.yaml that does"
        raise BadFiles([Problem(str(file), 1, 1, message)])
    return read_neurocontainers(read, file.absolute().parent)


def _read(file: Path) -> bytes:
    try:
        if not file.is_file():
            raise BadInput(f"{file} is not a file" if file.exists() else f"{file} is not there")
        if file.stat().st_size > _MAX_BYTES:
            raise BadInput(f"{file} is larger than {_MAX_BYTES >> 20} MiB")
        return file.read_bytes()
    except OSError as error:
        raise BadInput(f"{file} cannot be read: {error.strerror}") from None
