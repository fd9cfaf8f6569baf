"""The recipe that an import makes, before it is written: values, and notes at the place of each."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from imagefactory.importing.drafting.script import Script
from imagefactory.importing.fits import unused
from imagefactory.importing.inert import inert
from imagefactory.model.recipe import pip_name

DONE, PART, NOT = "translated", "in part", "not"
OUTCOMES = (DONE, PART, NOT)


@dataclass(frozen=True, slots=True)
class Remark:
    """What became of one instruction, and why it is not all of it."""

    kind: str
    place: str
    outcome: str
    why: str = ""

    def __post_init__(self) -> None:
        for name, most in (("kind", 80), ("place", 200), ("why", 1000)):
            object.__setattr__(self, name, inert(getattr(self, name), most))


@dataclass(slots=True)
class Index:
    """Another index of Python packages, and those that come from it."""

    url: str
    packages: dict[str, None] = field(default_factory=dict)


@dataclass(slots=True)
class SourceDraft:
    """What was downloaded: an archive or a repository, perhaps without what pins it."""

    url: str
    git: bool = False
    commit: str = ""
    sha256: str = ""
    ref: str = ""
    hints: dict[str, None] = field(default_factory=dict)
    only: str = ""

    @property
    def whole(self) -> bool:
        """Whether it can be declared as it is."""
        return bool(self.commit if self.git else self.sha256)


@dataclass(slots=True)
class Layer:
    """What all machines have, or one kind of them; each value with a comment, or none."""

    apt: dict[str, str] = field(default_factory=dict)
    pip: dict[str, str] = field(default_factory=dict)
    indexes: dict[str, Index] = field(default_factory=dict)
    channels: dict[str, None] = field(default_factory=dict)
    conda: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    path: dict[str, None] = field(default_factory=dict)
    commands: dict[str, None] = field(default_factory=dict)
    notes: dict[str, dict[str, None]] = field(default_factory=dict)

    def note(self, key: str, text: str) -> None:
        """A comment where ``key`` stands, once."""
        self.notes.setdefault(key, {})[text] = None

    def add_pip(self, requirement: str) -> None:
        """A Python package; a version that is said stays where it is asked for again without one."""
        name = pip_name(requirement)
        said = self.pip.get(name)
        if said is None or re.search(r"[=<>~!]", requirement):
            self.pip[name] = requirement


@dataclass(slots=True)
class TestDraft:
    """A smoke test. ``script`` is a file of tests/."""

    __test__ = False

    command: tuple[str, ...]
    output: tuple[str, ...] = ()
    status: int = 0
    files: tuple[str, ...] = ()
    full: bool = False
    note: str = ""


@dataclass(slots=True)
class FileDraft:
    """A file of files/, tests/ or icons/."""

    data: bytes
    executable: bool = False


@dataclass(slots=True)
class Draft:
    """All of it. ``known`` are variables with the values that they have while installing."""

    name: str
    base: str
    values: Mapping[str, str]
    reserved: frozenset[str] = frozenset()
    parts: dict[str, None] = field(default_factory=dict)
    layers: dict[str, Layer] = field(
        default_factory=lambda: {"": Layer(), "amd64": Layer(), "arm64": Layer()}
    )
    sources: dict[str, SourceDraft] = field(default_factory=dict)
    files: dict[str, FileDraft] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    tests: dict[str, TestDraft] = field(default_factory=dict)
    test_files: dict[str, FileDraft] = field(default_factory=dict)
    test_notes: list[str] = field(default_factory=list)
    known: dict[str, str] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    conda_wanted: bool = False
    conda_environment: str = "base"
    conda_left_out: set[str] = field(default_factory=set)
    script: Script = field(default_factory=Script)
    remarks: list[Remark] = field(default_factory=list)

    def layer(self, only: str) -> Layer:
        """What one kind of machine has; all, for no kind."""
        return self.layers[only]

    def free_source(self, name: str) -> str:
        """A name for a source that no other one has, nor will have."""
        return unused(name, {*self.sources, *self.reserved})

    def gather(self) -> None:
        """What every kind of machine has alike is of all of them."""
        common, one, two = (self.layers[name] for name in ("", "amd64", "arm64"))
        for kind in ("apt", "pip", "conda", "channels", "environment", "path", "commands"):
            mine, other, all_of_them = (getattr(layer, kind) for layer in (one, two, common))
            for key in [key for key, value in mine.items() if key in other and other[key] == value]:
                all_of_them[key] = mine[key]
                del mine[key], other[key]
        for key in one.indexes.keys() & two.indexes.keys():
            if one.indexes[key] == two.indexes[key]:
                common.indexes[key] = one.indexes.pop(key)
                del two.indexes[key]

    def resolved(self, text: str) -> str:
        """A text with the recipe's values in their places."""
        return re.sub(r"\$\{([a-z][a-z0-9_]*)\}", lambda found: self.values.get(found[1], found[0]), text)

    def move(self, old: str, new: str) -> None:
        """What stood in one folder stands in another one here. Nothing is moved but plain, whole paths."""
        if re.fullmatch(r"/[\w./${}+@~-]*\w[\w./${}+@~-]*", old, re.ASCII) and old != new:
            self.aliases[old] = new

    def moved(self, text: str) -> str:
        """A text with the places where conda is here, for those where it was."""
        for old in sorted(self.aliases, key=len, reverse=True):
            text = re.sub(rf"{re.escape(old)}(?![\w.-])", self.aliases[old], text)
        return re.sub(r"/opt/conda/envs/([\w.-]+)", self._environment, text) if self.conda_wanted else text

    def _environment(self, found: re.Match[str]) -> str:
        return found[0] if found[1] in self.conda_left_out else "/opt/conda"
