"""``build/<identifier>/report.json``: what was built, from what, how long it took, and how it tested."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class StepReport(_Record):
    """One step: ``seconds`` is wall-clock time; a cached step took its result from an earlier build."""

    name: str
    seconds: float
    cached: bool = False


class TestReport(_Record):
    """One test of one image format. ``reason`` says why it failed or was not run."""

    __test__ = False

    name: str
    kind: Literal["smoke", "contract"]
    format: Literal["oci", "sif", "vm"] = "oci"
    options: str = Field(default="", description="words that Apptainer was given")
    status: Literal["passed", "failed", "not-run"]
    reason: str = ""
    seconds: float = 0.0
    measures: dict[str, float] = Field(default={}, description="numbers read from the output")

    @property
    def title(self) -> str:
        """What was tested, in words."""
        if self.format == "oci":
            return f"{self.kind} test {self.name}"
        return f"{self.kind} test {self.name} ({' '.join((self.format.upper(), self.options)).strip()})"


class Acceptance(_Record):
    """Who builds the image accepted its licence: ``how`` is a word of the command line, site settings, or an
    answer; ``when`` is UTC, ISO 8601, and empty for what holds always.
    """

    url: str
    how: str
    when: str = ""


class SifReport(_Record):
    """The SIF file of an image, as last made: ``file`` is its name beside this report, ``sha256`` and
    ``bytes`` are the file's. It was made from the OCI image with the digest ``made_from``.
    """

    status: Literal["passed", "failed"]
    file: str = Field(description="empty when not kept")
    made_from: str
    converter: int = Field(description="version of what makes SIF files of OCI images")
    sha256: str
    bytes: int
    built: str = Field(description="end of the build, UTC, ISO 8601")
    steps: tuple[StepReport, ...]
    tests: tuple[TestReport, ...]
    tests_digest: str
    engines: dict[str, str]


class Report(_Record):
    """One image, as last built. ``bytes`` counts the compressed layers, as they are pulled."""

    schema_version: Literal[1] = 1
    id: str
    title: str
    version: str
    status: Literal["passed", "failed"]
    reference: str = Field(description="name of the image in the engine; empty when not kept")
    input_digest: str = Field(
        description="sha256 over all that the recipe, its base image and the factory decide of the image"
    )
    tests_digest: str = Field(description="sha256 over everything that decides the tests")
    image_digest: str = Field(description="digest of the OCI manifest")
    bytes: int
    built: str = Field(description="end of the build, UTC, ISO 8601")
    steps: tuple[StepReport, ...]
    tests: tuple[TestReport, ...]
    engines: dict[str, str] = Field(description="name and version of each engine used")
    stand_ins: tuple[str, ...] = Field(
        default=(), description="names of inputs that are not the true software"
    )
    licence_accepted: Acceptance | None = None
    sif: SifReport | None = None
    ingredients: dict[str, Any] = Field(description="what the input digest was computed from")


class BaseReport(_Record):
    """``build/bases/<name>/report.json``: a base image, as last made."""

    schema_version: Literal[1] = 1
    name: str
    definition_digest: str
    image_digest: str
    bytes: int
    built: str
    steps: tuple[StepReport, ...]
    engines: dict[str, str]
