"""What a person writes: recipes and base images, exactly as their YAML files hold them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self, get_args

from packaging.utils import canonicalize_name
from pydantic import Discriminator, Field, Tag, model_validator

from imagefactory.model.fields import (
    MAPPING,
    PATTERN,
    PLAIN,
    TEXT,
    AbsolutePath,
    AptPackage,
    Argument,
    BaseName,
    Command,
    CommandPattern,
    CondaChannel,
    CondaName,
    CondaSpec,
    EdamTerm,
    Email,
    EnvironmentName,
    EnvironmentValue,
    FileText,
    GitCommit,
    GitUrl,
    IconFile,
    Identifier,
    ImageByDigest,
    Licence,
    Line,
    Matching,
    Number,
    Pattern,
    PipName,
    PipRequirement,
    RelativePath,
    Sha256,
    Sha512,
    Size,
    SourceUrl,
    Strict,
    Url,
    ValueName,
    Version,
    groups,
)

Architecture = Literal["amd64", "arm64"]
"""The kind of machine, as Debian and OCI name it."""
MIB = 1 << 20
DEFAULT_VARIANT = "default"
CHANNELS = "https://conda.anaconda.org"
"""Where a channel's bare name points to, as in conda, mamba and pixi."""


class Maintainer(Strict):
    """Who answers for the recipe."""

    name: Line
    email: Email | None = None


class Source(Strict):
    """Upstream source: an archive by ``url`` and ``sha256``, or a repository by ``git`` and ``commit``.

    ``mirrors`` are further addresses of the same, tried in turn.
    """

    url: SourceUrl | None = None
    sha256: Sha256 | None = None
    git: GitUrl | None = None
    commit: GitCommit | None = None
    mirrors: tuple[SourceUrl, ...] = ()

    @property
    def address(self) -> str:
        """Upstream's own address."""
        return self.url or self.git or ""

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        archive = self.url is not None and self.sha256 is not None
        repository = self.git is not None and self.commit is not None
        halves = sum(v is not None for v in (self.url, self.sha256, self.git, self.commit))
        if halves != 2 or archive == repository:
            raise ValueError("a source is either 'url' with 'sha256', or 'git' with 'commit'")
        if self.url and self.url.endswith(("/.", "/..")):
            raise ValueError(f"the address ends without the name of a file: {self.url}")
        return self


def file_of(url: str) -> str:
    """The name of the file that an address ends with; nothing where it ends otherwise."""
    name = url.partition("?")[0].rpartition("/")[2]
    return "" if name in (".", "..") or url.count("/") < 3 else name


def channel_address(channel: str) -> str:
    """The address of a channel that is named as people name it."""
    return (channel if "://" in channel else f"{CHANNELS}/{channel}").rstrip("/")


def pip_name(requirement: str) -> str:
    """The name of the Python package in a requirement such as ``Numpy>=1.26``, as indexes compare names."""
    return canonicalize_name(re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0])


def conda_name(spec: str) -> str:
    """The name of the package in a conda spec such as ``fermitools==2.5.1``."""
    return re.split(r"[^a-z0-9_.-]", spec, maxsplit=1)[0]


class BuildInputs(Strict):
    """What only the build stage needs."""

    apt: tuple[AptPackage, ...] = ()
    sources: dict[Identifier, Source] = {}


class PipIndex(Strict):
    """Another index of Python packages than the usual one, and the packages that come from it."""

    url: Url
    packages: Annotated[tuple[PipName, ...], Field(min_length=1)]


class Pip(Strict):
    """Python packages; they are installed in /opt/venv.

    ``constraints`` bound the versions of what the packages need. ``python`` says whose Python runs them: the
    base image's, or that of the conda packages, any version of which can be asked for there.
    """

    python: Literal["base", "conda"] = "base"
    packages: Annotated[tuple[PipRequirement, ...], Field(min_length=1)]
    constraints: tuple[PipRequirement, ...] = ()
    indexes: dict[Identifier, PipIndex] = {}


class Conda(Strict):
    """conda packages, from channels in the order of their priority; they are installed in /opt/conda."""

    channels: Annotated[tuple[CondaChannel, ...], Field(min_length=1)]
    packages: Annotated[tuple[CondaSpec, ...], Field(min_length=1)]


class Inputs(BuildInputs):
    """What the application is made of. Build-only inputs are declared under ``build``."""

    pip: Pip | None = None
    conda: Conda | None = None

    def names(self) -> dict[str, list[str]]:
        """By kind, the names of the packages that are asked for."""
        return {
            "apt": list(self.apt),
            "pip": [pip_name(each) for each in self.pip.packages] if self.pip else [],
            "conda": [conda_name(each) for each in self.conda.packages] if self.conda else [],
        }


_SYSTEM = frozenset(("", "bin", "dev", "etc", "lib", "opt", "proc", "root", "run", "sbin", "usr", "var"))


class BuildStage(Strict):
    """A stage of its own that compiles, and of which only ``keep`` reaches the image."""

    inputs: BuildInputs = BuildInputs.model_construct()
    keep: Annotated[tuple[AbsolutePath, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _not_everything(self) -> Self:
        for folder in self.keep:
            if folder.strip("/") in _SYSTEM:
                raise ValueError(f"keep: '{folder}' holds the whole system: install into a folder of its own")
        return self


class Gpu(Strict):
    """What an application needs of an NVIDIA GPU, which is checked when it starts.

    ``driver`` is the oldest driver's version; ``capability`` lists the compute capabilities
    (https://developer.nvidia.com/cuda-gpus) that the application's programs were built for.
    """

    cuda: Version
    driver: Annotated[str, Matching(r"^[0-9]+(\.[0-9]+)*$", "a driver's version, such as 525.60.13")]
    capability: Annotated[
        tuple[Annotated[str, Matching(r"^[0-9]+\.[0-9]$", "a compute capability, such as 8.0")], ...],
        Field(min_length=1),
    ]


MachineKind = Literal["plain", "desktop", "gpu", "desktop_gpu"]
"""What a virtual machine has beside what all have."""


class Needs(Strict):
    """What the application needs of the machine that runs it. Sizes in bytes."""

    gpu: Gpu | None = None
    mpi: bool = False
    desktop: bool = False
    memory: Size = 1024 * MIB
    disk: Size = 1024 * MIB

    @property
    def kind(self) -> MachineKind:
        """The kind of machine that has all of it."""
        if self.gpu:
            return "desktop_gpu" if self.desktop else "gpu"
        return "desktop" if self.desktop else "plain"


class Measure(Strict):
    """A number that the output of a test must hold, between ``min`` and ``max`` inclusive."""

    pattern: Pattern
    min: Number
    max: Number

    @model_validator(mode="after")
    def _sane(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"min {self.min:g} is above max {self.max:g}")
        if groups(self.pattern) != 1:
            raise ValueError("the pattern needs exactly one group, in round brackets: the number")
        return self


class TestData(Strict):
    """A file that tests read, by ``url`` and ``sha256``: it is fetched once into the store, and in no image.

    ``mirrors`` are further addresses of the same, tried in turn.
    """

    url: SourceUrl
    sha256: Sha256
    mirrors: tuple[SourceUrl, ...] = ()

    @property
    def filename(self) -> str:
        """The last part of its address."""
        return file_of(self.url)

    @model_validator(mode="after")
    def _is_a_file(self) -> Self:
        if not file_of(self.url):
            raise ValueError(f"the address ends without the name of a file: {self.url}")
        return self


class SmokeTest(Strict):
    """One run of the application, with what must come of it.

    ``command`` is a list of words, run without a shell in an empty working folder as an ordinary
    user, without network, on a read-only root; the recipe's ``tests/`` folder is at ``/tests``, and each of
    ``data`` at ``/data/<name>/<file>``. A ``full`` test is run only where full tests are asked for.
    Lines of its output that match ``varies`` may differ from one run to the next; its ``files`` may differ in
    size, unless ``same_size`` is set: many programs write a date, a path or their options into them.
    """

    name: Identifier
    command: Annotated[tuple[Argument, ...], Field(min_length=1)]
    status: Annotated[int, Field(ge=0, le=255)] = 0
    output: tuple[Pattern, ...] = ()
    measures: dict[Line, Measure] = {}
    files: tuple[RelativePath, ...] = ()
    same_size: bool = False
    varies: tuple[Pattern, ...] = ()
    time_limit: Annotated[int, Field(ge=1, le=86400, description="seconds")] = 60
    memory_limit: Size = 1024 * MIB
    write_limit: Size = 64 * MIB
    data: tuple[Identifier, ...] = ()
    full: bool = False


class Waiver(Strict):
    """What a contract test finds at one ``path`` of the image, and why that may be there.

    It is shown wherever the test is. Nothing else of the test is waived.
    """

    test: Literal["no-secrets", "no-leftovers", "no-new-setuid"]
    path: RelativePath
    reason: Annotated[Line, Field(min_length=10)]


class GuiApp(Strict):
    """A program with windows, as menus show it: the ``command`` that starts it, and its ``icon``, a file in
    the recipe's ``icons/``.
    """

    name: Line
    command: Command
    icon: IconFile | None = None


class Terms(Strict):
    """Who may have the image. ``url`` is the address of the licence's text, ``note`` says what it asks for.

    ``public``: anyone. ``accept-first``: whoever builds it must accept the licence. ``private``: it may be
    built for oneself, and is not to be published.
    """

    policy: Literal["public", "accept-first", "private"] = "public"
    url: Url | None = None
    note: Line | None = None

    @model_validator(mode="after")
    def _says_which(self) -> Self:
        if self.policy == "accept-first" and not self.url:
            raise ValueError("'accept-first' needs a 'url': the address of what is to be accepted")
        return self


class VersionFrom(Strict):
    """The application's version is that of one of its inputs, as it is locked: such as ``apt:esorex``."""

    input: Annotated[
        Line,
        Field(alias="from", max_length=110),
        Matching(
            r"^(apt|pip|conda):[A-Za-z0-9_][A-Za-z0-9._+-]*$", "an input with its kind, such as apt:esorex"
        ),
    ]

    @property
    def kind(self) -> str:
        """The kind of input."""
        return self.input.partition(":")[0]

    @property
    def name(self) -> str:
        """The name of its package, as it is locked."""
        name = self.input.partition(":")[2]
        return pip_name(name) if self.kind == "pip" else name


def _way(value: Any) -> str:
    return MAPPING if isinstance(value, (dict, VersionFrom)) else TEXT


Stated = Annotated[
    Annotated[Version, Tag(TEXT)] | Annotated[VersionFrom, Tag(MAPPING)],
    Discriminator(_way),
]
"""A version: typed, or where it is taken from."""


CommandOrPattern = Annotated[
    Annotated[Command, Tag(PLAIN)] | Annotated[CommandPattern, Tag(PATTERN)],
    Discriminator(lambda value: PATTERN if isinstance(value, str) and set(value) & set("*?/") else PLAIN),
]
"""A command by its name, or several by a pattern."""


class Shared(Strict):
    """What recipes, their variants and parts may all say."""

    values: dict[ValueName, Line] = {}
    citation: tuple[Line, ...] = ()
    inputs: Inputs = Inputs.model_construct()
    build: BuildStage | None = None
    files: dict[RelativePath, FileText] = {}
    environment: dict[EnvironmentName, EnvironmentValue] = {}
    path: tuple[AbsolutePath, ...] = ()
    home_folders: tuple[RelativePath, ...] = ()
    commands: tuple[CommandOrPattern, ...] = ()
    gui_apps: tuple[GuiApp, ...] = ()
    needs: Needs = Needs.model_construct()
    test_data: dict[Identifier, TestData] = {}
    tests: tuple[SmokeTest, ...] = ()
    waivers: tuple[Waiver, ...] = ()


class Details(Shared):
    """What a recipe and its variants may both say. A variant says only what differs."""

    title: Line | None = None
    summary: Line | None = None
    version: Stated | None = None
    image: Identifier | None = None
    homepage: Url | None = None
    licence: Licence | None = None
    terms: Terms = Terms.model_construct()
    topics: tuple[Line, ...] = ()
    tasks: tuple[Line, ...] = ()
    keywords: tuple[Line, ...] = ()
    edam: tuple[EdamTerm, ...] = ()
    base: BaseName | None = None
    parts: tuple[Identifier, ...] = ()


class Without(Strict):
    """What a variant leaves out of what its recipe says, by name."""

    apt: tuple[AptPackage, ...] = ()
    pip: tuple[PipName, ...] = ()
    conda: tuple[CondaName, ...] = ()
    sources: tuple[Identifier, ...] = ()
    environment: tuple[EnvironmentName, ...] = ()
    path: tuple[AbsolutePath, ...] = ()
    home_folders: tuple[RelativePath, ...] = ()
    commands: tuple[CommandOrPattern, ...] = ()
    tests: tuple[Identifier, ...] = ()
    test_data: tuple[Identifier, ...] = ()
    files: tuple[RelativePath, ...] = ()
    gui_apps: tuple[Command, ...] = ()
    parts: tuple[Identifier, ...] = ()


class VariantPip(Pip):
    """What differs: the packages may be the recipe's."""

    packages: Annotated[tuple[PipRequirement, ...], Field(min_length=1)] = ()


class VariantConda(Conda):
    """What differs: channels and packages may be the recipe's."""

    channels: Annotated[tuple[CondaChannel, ...], Field(min_length=1)] = ()
    packages: Annotated[tuple[CondaSpec, ...], Field(min_length=1)] = ()


class VariantInputs(Inputs):
    """What differs in what the application is made of."""

    pip: VariantPip | None = None
    conda: VariantConda | None = None


class Differences(Details):
    """What is said here of one thing replaces what the recipe says of it; lists and mappings add the rest.

    One thing is a package, a source, a variable or a test of one name. ``without`` leaves some of them out.
    """

    inputs: VariantInputs = VariantInputs.model_construct()
    without: Without = Without.model_construct()


class Variant(Differences):
    """What differs in one of a recipe's images, and in that on one kind of machine."""

    architectures: dict[Architecture, Differences] = {}


class Recipe(Details):
    """One application: ``recipes/<name>/recipe.yaml``."""

    name: Identifier
    title: Line
    homepage: Url
    licence: Licence
    maintainers: Annotated[tuple[Maintainer, ...], Field(min_length=1)]
    base: BaseName
    architectures: dict[Architecture, Differences] = {}
    variants: dict[Identifier, Variant] = {}


class Part(Shared):
    """What several recipes have in common: ``recipes/_parts/<name>/part.yaml``.

    Its ``install.sh``, if it has one, runs in a stage of its own, of which images get only what ``build``
    keeps.
    """

    name: Identifier
    title: Line


Distribution = Literal["debian", "ubuntu"]


@dataclass(frozen=True, slots=True)
class Release:
    """A release of a distribution: what apt's archives are found by."""

    distribution: Distribution
    suite: str

    def __str__(self) -> str:
        return f"{self.distribution} {self.suite}"


_MADE = ("distribution", "suite", "published")
Component = Literal["contrib", "non-free", "non-free-firmware", "restricted", "multiverse"]
"""A part of a distribution's archive that not everybody may pass on, or that needs such a part."""
Suite = Annotated[str, Field(max_length=40), Matching(r"^[a-z]+$", "the name of a release, such as bookworm")]


VM = "-vm"


def is_vm_base(name: str) -> bool:
    """Whether that is what a VM base is called."""
    return name.endswith(VM)


class PublishedDisk(Strict):
    """A disk that others publish: a qcow2 file by its ``url``, and the ``sha512`` that stands beside it."""

    url: SourceUrl
    sha512: Sha512

    @property
    def filename(self) -> str:
        """The last part of its address."""
        return file_of(self.url)

    @model_validator(mode="after")
    def _is_a_file(self) -> Self:
        if not self.filename:
            raise ValueError(f"the address ends without the name of a file: {self.url}")
        return self


Private = Annotated[
    dict[AptPackage, Annotated[tuple[AptPackage, ...], Field(min_length=1)]], Field(min_length=1)
]


class Machine(Strict):
    """What makes a base image a VM base: the disk of a virtual machine, which boots.

    ``user`` is the account that cloud-init makes. ``newer`` names packages that come from newer releases of
    the same distribution, by release, with what they need from there. ``private`` names those whose programs
    need newer libraries than the system's too, by release: each with the packages that its libraries come
    from, which nothing else uses. Or it is a disk that others publish (``from``), as it is.
    """

    user: Annotated[
        str, Field(max_length=31), Matching(r"^[a-z][a-z0-9-]*$", "a user's name, such as debian")
    ]
    upstream: Annotated[PublishedDisk | None, Field(alias="from")] = None
    newer: dict[Suite, Annotated[tuple[AptPackage, ...], Field(min_length=1)]] = {}
    private: dict[Suite, Private] = {}

    @property
    def private_releases(self) -> dict[str, str]:
        """The release of each package that ``private`` names, for its programs or its libraries."""
        return {
            name: suite
            for suite, programs in self.private.items()
            for program, libraries in programs.items()
            for name in (program, *libraries)
        }

    @model_validator(mode="after")
    def _one_release_each(self) -> Self:
        if self.upstream and (self.newer or self.private):
            raise ValueError("'from' takes a disk as it is: leave out 'newer' and 'private'")
        releases = self.private_releases
        for suite, programs in self.private.items():
            for name in (each for program, libraries in programs.items() for each in (program, *libraries)):
                if releases[name] != suite:
                    raise ValueError(f"'{name}' is in two releases: {suite} and {releases[name]}")
        return self


class VmBases(Strict):
    """The VM bases of project images, by what their applications need: a ``desktop``, a ``gpu``, both, or
    neither (``plain``).
    """

    plain: BaseName | None = None
    desktop: BaseName | None = None
    gpu: BaseName | None = None
    desktop_gpu: BaseName | None = None

    def named(self) -> dict[MachineKind, str]:
        """Those that are named, by the kind of machine."""
        kinds: tuple[MachineKind, ...] = get_args(MachineKind)
        return {kind: name for kind in kinds if (name := getattr(self, kind))}

    @model_validator(mode="after")
    def _named_right(self) -> Self:
        for name in self.named().values():
            if not is_vm_base(name):
                raise ValueError(_NO_VM_BASE.format(name))
        return self


_NO_VM_BASE = f"'vm' names VM bases, which are called …{VM}: {{}} is none"


def _one_or_many(value: Any) -> str:
    return MAPPING if isinstance(value, (dict, VmBases)) else TEXT


class BaseImage(Strict):
    """One base image: ``base_images/<name>.yaml``, made from a distribution's packages, or an image of a
    registry by its digest (``from``), as it is. With ``machine`` it is a VM base, and so it is with ``like``:
    another VM base, with more packages.

    ``published`` is the image that people without the factory can pull instead; ``vm`` the VM base of project
    images, which hold containers that are made on it, or several by what their applications need.
    ``components`` are those of a VM base's archive that packages come from, beside the usual ones.
    """

    name: BaseName
    title: Line
    vm: (
        Annotated[
            Annotated[BaseName, Tag(TEXT)] | Annotated[VmBases, Tag(MAPPING)],
            Discriminator(_one_or_many),
        ]
        | None
    ) = None
    like: BaseName | None = None
    upstream: Annotated[ImageByDigest | None, Field(alias="from")] = None
    distribution: Distribution | None = None
    suite: Suite | None = None
    components: tuple[Component, ...] = ()
    packages: tuple[AptPackage, ...] = ()
    machine: Machine | None = None
    published: (
        Annotated[
            Line,
            Field(max_length=255),
            Matching(r"^[a-z0-9][a-z0-9./:_@-]*$", "the name of an image, such as debian:12-slim"),
        ]
        | None
    ) = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        ours = [key for key in _MADE if getattr(self, key) is not None]
        needed = [key for key in _MADE if key != "published" or not self.machine]
        if is_vm_base(self.name) != bool(self.machine or self.like):
            raise ValueError(f"what has 'machine' or 'like' is called …{VM}, and nothing else is: rename it")
        if self.components and not is_vm_base(self.name):
            raise ValueError("'components' are for VM bases: leave them out")
        if self.vm and is_vm_base(self.name):
            raise ValueError("a VM base is for base images to name: leave out 'vm'")
        if isinstance(self.vm, str) and not is_vm_base(self.vm):
            raise ValueError(_NO_VM_BASE.format(self.vm))
        if self.like:
            return self._like_another(ours)
        if self.machine and self.published:
            raise ValueError("a VM base is no image that could be pulled: leave out 'published'")
        if self.machine and self.upstream:
            raise ValueError(
                "a VM base is no image of a registry: leave out 'from', or have it below 'machine'"
            )
        if self.upstream or self.disk:
            more = [key for key in ("packages", "components") if getattr(self, key)]
            if beside := [*ours, *more]:
                what = "a disk" if self.disk else "an image"
                raise ValueError(f"'from' takes {what} as it is: leave out '{beside[0]}'")
        elif lacks := [f"'{key}'" for key in needed if key not in ours]:
            named = " and ".join([", ".join(lacks[:-1]), lacks[-1]] if lacks[1:] else lacks)
            other = (
                "'machine: {from: …}' with a disk" if self.machine else "'from' with an image of a registry"
            )
            raise ValueError(f"it lacks {named}, or {other}")
        return self

    def _like_another(self, ours: list[str]) -> Self:
        beside = [*ours, *(["machine"] if self.machine else []), *(["from"] if self.upstream else [])]
        if beside:
            raise ValueError(f"'like' takes the rest from {self.like}: leave out '{beside[0]}'")
        if not self.packages:
            raise ValueError(f"it lacks 'packages': what it has beside those of {self.like}")
        return self

    def whole(self, liked: BaseImage) -> BaseImage:
        """It without ``like``, as if all of it stood in its file. ``liked`` is that VM base, as a whole.

        Raises ValueError where nothing can be added to that.
        """
        if liked.disk:
            raise ValueError(f"{liked.name} is a disk that others publish: nothing can be added to it")
        packages = tuple(dict.fromkeys((*liked.packages, *self.packages)))
        _installed_once(packages, liked.machine)
        added = {
            "components": tuple(dict.fromkeys((*liked.components, *self.components))),
            "packages": packages,
        }
        return liked.model_copy(update={"name": self.name, "title": self.title, **added})

    @property
    def vm_bases(self) -> VmBases:
        """The VM bases that it names; one alone is for applications with no needs of their own."""
        return VmBases(plain=self.vm) if isinstance(self.vm, str) else self.vm or VmBases()

    @property
    def disk(self) -> PublishedDisk | None:
        """The disk that it is, where others made it."""
        return self.machine.upstream if self.machine else None

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        _installed_once(self.packages, self.machine)
        return self

    @property
    def release(self) -> Release:
        """The release whose packages it is made of; of an upstream image only its lock says which."""
        assert self.distribution
        assert self.suite
        return Release(self.distribution, self.suite)


def _installed_once(packages: Iterable[str], machine: Machine | None) -> None:
    """Raises ValueError where what is in ``private`` is installed as other packages are, too."""
    newer = {name for names in machine.newer.values() for name in names} if machine else set()
    programs = {name for of in machine.private.values() for name in of} if machine else set()
    if twice := sorted(programs & {*packages, *newer}):
        raise ValueError(f"'{twice[0]}' is in 'private', and is installed as well: leave out one of them")
