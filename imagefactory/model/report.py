"""``report.json`` and ``history.json``: what was made, of what, how long it took and how it tested.

One schema serves every kind of target.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class StepReport(_Record):
    """One step: ``seconds`` is wall-clock time; a cached step took its result from an earlier build."""

    name: str
    seconds: float
    cached: bool = False


class ExpectationReport(_Record):
    """One thing that a smoke test expects, and what came of it, in words."""

    what: str
    fine: bool


class TestReport(_Record):
    """One test. ``reason`` says why it failed or was not run, or what is worth a look though it passed.

    Of a smoke test that failed there is also the command, each expectation, and the last lines that it wrote.
    """

    __test__ = False

    name: str
    kind: Literal["smoke", "contract"]
    options: str = Field(default="", description="words that the engine was given beside the usual ones")
    status: Literal["passed", "failed", "not-run"]
    reason: str = ""
    full: bool = Field(default=False, description="whether it is run only where full tests are asked for")
    seconds: float = 0.0
    measures: dict[str, float] = Field(default={}, description="numbers read from the output")
    command: tuple[str, ...] = ()
    expectations: tuple[ExpectationReport, ...] = ()
    last_lines: tuple[str, ...] = ()
    waived: tuple[str, ...] = Field(
        default=(), description="what it found and the recipe waives, with the recipe's reason"
    )

    @property
    def title(self) -> str:
        """What was tested, in words."""
        return f"{self.kind} test {self.name}" + (f" ({self.options})" if self.options else "")


class Acceptance(_Record):
    """Who builds the image accepted its licence: ``how`` is a word of the command line, site settings, or an
    answer; ``when`` is UTC, ISO 8601, and empty for what holds always.
    """

    url: str
    how: str
    when: str = ""


class NeedReport(_Record):
    """A target that this one was made of, as it was then."""

    kind: str
    id: str
    input_digest: str
    digest: str


class HeldReport(_Record):
    """What is there beside, or instead of, what was made last: its name in an engine, or its file."""

    reference: str = ""
    file: str = Field(default="", description="where it stands below build/<id>/")
    digest: str
    bytes: int


class PublishedPlace(_Record):
    """Where it can be had from: an address, the digest that it has there, and since when (UTC, ISO 8601)."""

    where: str
    digest: str
    when: str


class MemoryReport(_Record):
    """What tests could take of memory: ``how`` says it in words, ``together`` whether all processes of a test
    were bounded at once.
    """

    how: str
    together: bool


Status = Literal["passed", "failed"]


class Report(_Record):
    """One target, as last made."""

    schema_version: Literal[2] = 2
    kind: str = Field(description="kind of target, such as oci")
    id: str = Field(description="the image, or base image, that it is of")
    title: str
    version: str = Field(description="of the application; empty for a base image")
    status: Status
    reference: str = Field(default="", description="its name in an engine; empty when not kept there")
    file: str = Field(
        default="", description="where it stands below build/<id>/; empty when not kept as a file or folder"
    )
    input_digest: str = Field(description="sha256 over all that decides what it is")
    tests_digest: str = Field(description="sha256 over everything that decides the tests")
    digest: str = Field(description="of the OCI manifest, or of the file")
    bytes: int = Field(description="its size as people fetch it")
    built: str = Field(description="end of the build, UTC, ISO 8601")
    seconds: float = Field(description="wall-clock time of making and testing it")
    steps: tuple[StepReport, ...]
    tests: tuple[TestReport, ...]
    engines: dict[str, str] = Field(description="name and version of each engine used")
    memory: MemoryReport | None = Field(
        default=None, description="how the memory of its tests was bounded, where that depends on the machine"
    )
    needs: tuple[NeedReport, ...] = ()
    commands: tuple[str, ...] = Field(default=(), description="what an image is for its users")
    environment: dict[str, str] = Field(default={}, description="variables that an image sets")
    path: tuple[str, ...] = Field(default=(), description="folders of its own programs")
    stand_ins: tuple[str, ...] = Field(
        default=(), description="names of inputs that are not the true software"
    )
    licence_accepted: Acceptance | None = None
    non_free: tuple[str, ...] = Field(
        default=(),
        description="packages that not everybody may pass on, in it or in what it was made of",
    )
    raw: HeldReport | None = Field(
        default=None, description="the same disk uncompressed, where somebody asked for it"
    )
    candidate: HeldReport | None = Field(
        default=None, description="this one, where it failed its tests and is kept for people to look at"
    )
    earlier: HeldReport | None = Field(
        default=None, description="the last one that passed, where this one did not"
    )
    published: tuple[PublishedPlace, ...] = ()
    ingredients: dict[str, Any] = Field(description="what the input digest was computed from")

    @property
    def kept(self) -> bool:
        """Whether it passed and has its name."""
        return bool(self.reference or self.file)

    def of(self, held: HeldReport | None) -> Report | None:
        """The same of its candidate, or of the earlier one, as if that had been kept; None where none is."""
        if held is None:
            return None
        raw = self.raw if held.file == self.file else None
        return self.model_copy(update={**held.model_dump(), "candidate": None, "earlier": None, "raw": raw})

    def held(self) -> list[HeldReport]:
        """All that is there of it, the best first."""
        good = HeldReport(reference=self.reference, file=self.file, digest=self.digest, bytes=self.bytes)
        return [each for each in (good if self.kept else None, self.candidate, self.earlier) if each]


class PastReport(_Record):
    """What is remembered of a former report. Times in seconds, sizes in bytes."""

    built: str
    version: str
    status: Status
    input_digest: str
    digest: str
    bytes: int
    seconds: float
    tests: dict[str, int] = Field(description="how many passed, failed and were not run")


class History(_Record):
    """Former reports of a target and the last one, the oldest first; the oldest are forgotten."""

    schema_version: Literal[1] = 1
    reports: tuple[PastReport, ...] = ()
