"""Steps of a foreign recipe to a draft of ours; what became of each is noted."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Mapping
from functools import singledispatchmethod

from imagefactory.importing.commands.packages import AskedOfPip
from imagefactory.importing.drafting.adding import add_apt, add_conda, add_pip, conda_words
from imagefactory.importing.drafting.bases import base_of
from imagefactory.importing.drafting.copies import Copier
from imagefactory.importing.drafting.draft import DONE, NOT, PART, Draft, FileDraft, Remark, SourceDraft
from imagefactory.importing.drafting.environment import SYSTEM_FOLDERS, set_variables
from imagefactory.importing.drafting.runs import Runner
from imagefactory.importing.drafting.script import Halt, Line, Note, notes
from imagefactory.importing.drafting.trials import add_trial
from imagefactory.importing.fits import fits, slug
from imagefactory.importing.steps import (
    Action,
    Base,
    Copy,
    Declared,
    Deploy,
    Described,
    Environment,
    Foreign,
    ForeignTest,
    Nothing,
    Packages,
    Run,
    Start,
    Template,
    User,
    Workdir,
)
from imagefactory.model.fields import AbsolutePath, Command, RelativePath, SourceUrl

Became = tuple[str, str]
"""What became of a step, and why that is not all of it."""

_ADVICE: Mapping[str, str] = {
    "fsl": "FSL is published for conda, in a channel of its own",
    "ants": "ANTs is in Debian and on conda-forge, or is compiled of its source",
    "afni": "AFNI publishes archives of programs and its source: declare one as a source",
    "freesurfer": "FreeSurfer publishes archives: declare one as a source; users bring a licence",
    "matlabmcr": "The MathWorks publish the runtime as an archive: declare it as a source",
    "spm12": "SPM's standalone is an archive: declare it as a source, with MATLAB's runtime",
    "dcm2niix": "dcm2niix is in Debian and on conda-forge, and its releases are archives",
    "mrtrix3": "MRtrix3 is in Debian, and on conda in the channel mrtrix3",
    "minc": "MINC publishes Debian packages: declare one as a source",
    "convert3d": "Convert3D is in Debian, and its releases are archives",
    "bids_validator": "the validator is on npm, and as bids-validator-deno among Python packages",
}
_NO_MATTER = ("_header", "_default", "jq")


class Translator:
    """Makes the draft, step by step."""

    def __init__(self, described: Described, draft: Draft, parts: Collection[str]) -> None:
        self.described = described
        self.draft = draft
        self.parts = parts
        draft.reserved = frozenset(s.source for s in described.steps if isinstance(s, Declared) and s.source)

    def translate(self) -> None:
        """All steps, in their order."""
        for step in self.described.steps:
            outcome, why = self._one(step)
            self.draft.remarks.append(Remark(step.kind, step.place, outcome, why))

    @singledispatchmethod
    def _one(self, step: Action) -> Became:
        raise AssertionError(step)

    @_one.register
    def _(self, step: Base) -> Became:
        if step.image in ("", "scratch"):
            self.draft.layer("").note("base", "No image is named that it was made on.")
            return NOT, "no image is named"
        distribution = re.sub(r"^(docker\.io/)?(library/)?", "", step.image).partition("@")[0]
        if base_of(step.image, [self.draft.base]):
            return DONE, ""
        note = f"It was made on {step.image}: packages may have other names and versions here."
        self.draft.layer("").note("base", note)
        if re.match(r"(debian|ubuntu|neurodebian)(:|$)", distribution):
            return PART, f"{step.image} is another release or distribution than {self.draft.base}"
        self.draft.layer("").note(
            "base", "What that image holds beside a distribution is not in this recipe."
        )
        return NOT, f"what {step.image} holds is not in this recipe"

    @_one.register
    def _(self, step: Packages) -> Became:
        if step.manager != "apt":
            self.draft.layer(step.only).note("apt", f"{step.manager} installed: {' '.join(step.names)}")
            return NOT, f"{step.manager} has other names of packages: find those of Debian"
        left = add_apt(self.draft, step.names, step.only)
        return self._by(left, len(step.names))

    @_one.register
    def _(self, step: Run) -> Became:
        return Runner(self.draft, step).translate()

    @_one.register
    def _(self, step: Environment) -> Became:
        return self._by(set_variables(self.draft, step), len(step.pairs))

    @_one.register
    def _(self, step: Workdir) -> Became:
        self.draft.script.enter(step.path, f"{step.kind}, {step.place}", step.only)
        return DONE, ""

    @_one.register
    def _(self, step: User) -> Became:
        if step.name in ("root", "0"):
            return DONE, ""
        self.draft.layer("").note(
            "commands", f"It ran as {step.name}; an image of ours runs as whoever calls it."
        )
        return DONE, ""

    @_one.register
    def _(self, step: Start) -> Became:
        command = step.words[0].rpartition("/")[2] if step.words else ""
        if not command or "startup.sh" in command or command in ("bash", "sh", "tini", "env"):
            return DONE, ""
        self.draft.layer("").note("commands", f"It was started by: {shlex.join(step.words)}")
        folder = step.words[0].rpartition("/")[0]
        if not fits(Command, command):
            return NOT, "an image of ours is started by its commands"
        self.draft.layer("").commands[command] = None
        if folder and fits(AbsolutePath, folder) and folder not in SYSTEM_FOLDERS:
            self.draft.layer("").path[folder] = None
        return (PART, "an image of ours is started by its commands") if step.words[1:] else (DONE, "")

    @_one.register
    def _(self, step: Declared) -> Became:
        name = step.name.removeprefix("./")
        if step.url:
            if not fits(SourceUrl, self.draft.resolved(step.url)):
                self.draft.missing[name] = "its address is not known"
                return NOT, "its address is not known"
            source = SourceDraft(step.url, sha256=step.sha256, only=step.only)
            if self.draft.sources.setdefault(step.source, source).whole:
                return DONE, ""
            return PART, f"the source {step.source} needs its sha256"
        if step.content is None or not fits(RelativePath, name):
            self.draft.missing[name] = step.why_not or "its name can't be taken"
            return NOT, self.draft.missing[name]
        self.draft.files[name] = FileDraft(step.content, step.executable)
        return DONE, ""

    @_one.register
    def _(self, step: Copy) -> Became:
        return Copier(self.draft, self.described.steps, step).translate()

    @_one.register
    def _(self, step: Template) -> Became:
        name = step.name.lower()
        if name == "miniconda":
            return self._miniconda(step)
        if name in _NO_MATTER:
            return self._by(add_apt(self.draft, ["jq"] if name == "jq" else [], step.only), 1)
        options = " ".join(f"{key}={value}" for key, value in step.options)
        part = next((part for part in (slug(name), name) if part in self.parts), "")
        if part:
            self.draft.parts[part] = None
            self.draft.layer("").note("parts", f"{part}: was the template {step.name} {options}".rstrip())
            return PART, f"the part {part} stands for it: compare versions"
        advice = _ADVICE.get(name, "find its packages, or declare its archive as a source")
        why = f"the template {step.name}: {advice}"
        shown = f"Not translated: the template {step.name} {options}".rstrip()
        lines: list[Line] = [
            Note(f"{shown}: {advice}."),
            Halt(step.place, f"the template {step.name} is to be replaced"),
        ]
        self.draft.script.add(lines, f"{step.kind}, {step.place}", step.only)
        return NOT, why

    def _miniconda(self, step: Template) -> Became:
        options, left = dict(step.options), list[str]()
        version = options.get("version") or "latest"
        runner = Runner(self.draft, Run(kind=step.kind, place=step.place, lines=()))
        runner.move_conda(
            options.get("install_path") or options.get("installation_path") or f"/opt/miniconda-{version}"
        )
        self.draft.conda_wanted = True
        try:
            if text := options.get("conda_install", "").strip():
                asked = conda_words(text)
                asked.environment = options.get("env_name", "")
                left += add_conda(self.draft, asked, step.only)
            if text := options.get("pip_install", "").strip():
                left += add_pip(self.draft, AskedOfPip(packages=shlex.split(text)), step.only)
        except ValueError:
            left.append("quotes in its packages that do not end")
        for key in ("yaml_file", "conda_opts", "pip_opts"):
            if options.get(key):
                left.append(f"{key}={options[key]}")
        if left:
            self.draft.layer("").note("conda", f"not taken of the template: {'; '.join(left)}")
        return self._by(left, len(left) + 1)

    @_one.register
    def _(self, step: Deploy) -> Became:
        layer, left = self.draft.layer(step.only), list[str]()
        for folder in step.path:
            plain = re.sub("/+", "/", folder).rstrip("/") or "/"
            if fits(AbsolutePath, self.draft.resolved(plain)) and plain != "/":
                if plain not in SYSTEM_FOLDERS:
                    layer.path[plain] = None
                layer.commands[f"{plain}/*"] = None
            else:
                left.append(f"the folder {folder}")
        for command in step.commands:
            name = command.rpartition("/")[2]
            if fits(Command, self.draft.resolved(name)) and name not in ("apptainer", "singularity"):
                layer.commands[name] = None
                folder = command.rpartition("/")[0]
                if fits(AbsolutePath, folder) and folder not in SYSTEM_FOLDERS:
                    layer.path[folder] = None
            else:
                layer.note("commands", f"not taken: {command}")
                left.append(f"the command {command}")
        return self._by(left, len(step.path) + len(step.commands))

    @_one.register
    def _(self, step: ForeignTest) -> Became:
        return add_trial(self.draft, step)

    @_one.register
    def _(self, step: Nothing) -> Became:
        return DONE, ""

    @_one.register
    def _(self, step: Foreign) -> Became:
        if step.about:
            self.draft.layer("").note("head", f"{step.kind} ({step.place}): {step.why}.")
            return PART if step.partly else NOT, step.why
        shown = notes("\n".join(step.text.splitlines())) if step.text else []
        lines: list[Line] = [Note(f"Not translated: {step.why}."), *shown]
        if step.stops:
            lines.append(Halt(step.place, step.why))
        self.draft.script.add(lines, f"{step.kind}, {step.place}", step.only)
        return PART if step.partly else NOT, step.why

    def _by(self, left: list[str], of: int) -> Became:
        """All of it, in part, or not, by what was left out."""
        if not left:
            return DONE, ""
        return (PART if len(left) < of else NOT), "; ".join(left)
