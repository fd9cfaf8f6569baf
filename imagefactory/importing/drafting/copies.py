"""Files that a foreign recipe copies, to commands of install.sh."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field

from imagefactory.importing.drafting.draft import DONE, NOT, PART, Draft
from imagefactory.importing.drafting.script import Halt, Line, Note
from imagefactory.importing.drafting.words import word
from imagefactory.importing.fits import file_of, source_path
from imagefactory.importing.steps import Action, Copy, Declared

_PACKED = re.compile(r"\.(tar(\.\w+)?|tgz|tbz2?|txz)$")
"""What Docker unpacks where it adds it."""
_FOLDERS = (".", "/opt", "/tmp", "/usr/bin")  # noqa: S108
_MODE = re.compile(r"[0-7]{3,4}|[ugoa]*[-+=][rwxXst]*(,[ugoa]*[-+=][rwxXst]*)*")


@dataclass(slots=True)
class Copier:
    """Translates one ``Copy``."""

    draft: Draft
    steps: Sequence[Action]
    step: Copy
    lines: list[Line] = field(default_factory=list)
    why: list[str] = field(default_factory=list)

    def translate(self) -> tuple[str, str]:
        """What became of it, and why that is not all."""
        step, target = self.step, self.step.target
        into = target.endswith("/") or len(step.sources) > 1 or target in _FOLDERS
        folder = target.rstrip("/") or "/"
        made = folder if into else folder.rpartition("/")[0] or ("/" if target.startswith("/") else ".")
        if step.owner:
            shown = f"--chown={step.owner} is left out: an image of ours runs as whoever calls it."
            self.lines.append(Note(shown))
        if made not in ("/", "."):
            self.lines.append(f"mkdir -p {word(made)}")
        copied = [self._one(given, folder, into) for given in step.sources]
        self.draft.script.add(
            self.lines, f"{step.kind}, {step.place}", step.only, run=not target.startswith("/")
        )
        return (PART if self.why else DONE) if any(copied) else NOT, "; ".join(self.why)

    def _one(self, given: str, folder: str, into: bool) -> bool:
        place, missing = self._place(given)
        if missing:
            self._lose(given, missing)
            return False
        target, name = word(self.step.target), place.split("/")[2]
        if place.startswith("/sources/") and not self.draft.sources[name].whole:
            self.lines.append(f"need {name}")
            self.why.append(f"the source {name} needs its sha256")
        if self.step.kind.upper() == "ADD" and given in self.draft.files and _PACKED.search(given):
            self.lines.append(f"mkdir -p {target} && tar -xf {place} -C {target}")
        else:
            self.lines.append(f"cp -R {place} {target}")
            self._change_mode(given, folder, into)
        within = _within(given)
        for lost in self.draft.missing:
            if lost.startswith(within) and lost not in (".", *self.step.sources):
                self._lose(lost, f"{lost}: {self.draft.missing[lost]}")
        return True

    def _lose(self, given: str, why: str) -> None:
        self.why.append(why)
        self.lines += [
            Note(f"Not translated: copy {given} {self.step.target}: {why}."),
            Halt(self.step.place, why),
        ]

    def _change_mode(self, given: str, folder: str, into: bool) -> None:
        """What was copied gets its mode: a file, or all that a folder held."""
        mode, name, within = self.step.mode, given.removeprefix("./").rstrip("/"), _within(given)
        if not mode:
            return
        if not _MODE.fullmatch(mode):
            self.why.append(f"--chmod={mode} is not known")
            self.lines.append(Halt(self.step.place, self.why[-1]))
            return
        inside = {
            file.removeprefix(within).split("/")[0] for file in self.draft.files if file.startswith(within)
        }
        whole = name not in self.draft.files and bool(inside)
        copied = sorted(inside) if whole else [file_of(name)]
        paths = [f"{folder.rstrip('/')}/{each}" for each in copied] if whole or into else [folder]
        self.lines.append(f"chmod {'-R ' if whole else ''}{mode} {' '.join(map(word, paths))}")

    def _place(self, given: str) -> tuple[str, str]:
        files, name = self.draft.files, given.removeprefix("./").rstrip("/")
        if name in (".", "") and files:
            return "/recipe/files/.", ""
        if name in files:
            return shlex.quote(f"/recipe/files/{name}"), ""
        if any(file.startswith(f"{name}/") for file in files):
            return shlex.quote(f"/recipe/files/{name}/."), ""
        declared = next((s for s in self.steps if isinstance(s, Declared) and s.name == name), None)
        if declared and declared.url and declared.source in self.draft.sources:
            return source_path(declared.source, self.draft.resolved(declared.url)), ""
        return "", self.draft.missing.get(name, f"there is no file {given} beside it")


def _within(given: str) -> str:
    """What the names of files begin with that a folder holds."""
    name = given.removeprefix("./").rstrip("/")
    return "" if name in (".", "") else f"{name}/"
