"""Values for tests to start from: each maker gives a whole one, with the changes a test needs."""

from __future__ import annotations

import dataclasses
from typing import Any

from imagefactory.model.recipe import BuildStage, Inputs, Maintainer, Needs, SmokeTest, Source
from imagefactory.model.report import Report
from imagefactory.model.spec import BuiltBase, File, ImageDefinition, ImageSpec, RecipeFolder

RECIPE = """\
name: app
title: An application
version: "1.0"
homepage: https://example.org/app
licence: MIT
maintainers:
  - name: A Maintainer
base: debian-12
inputs:
  apt: [hello]
commands: [hello]
tests:
  - name: runs
    command: [hello, --version]
    output: ["^hello"]
"""

ARCHIVE = Source(url="https://example.org/app-1.0.tar.gz", sha256="a" * 64)
REPOSITORY = Source(git="https://example.org/library.git", commit="b" * 40)
STAGE = BuildStage(
    inputs=Inputs(apt=("gcc", "make"), sources={"app": ARCHIVE, "library": REPOSITORY}),
    keep=("/opt/app",),
)


def named(text: str, name: str) -> str:
    """A recipe's text under another name."""
    return text.replace("name: app", f"name: {name}", 1)


def folder(**changes: Any) -> RecipeFolder:
    whole = RecipeFolder(
        install=b"#!/bin/sh\n",
        files=(),
        tests=(),
        revision="c" * 40,
        epoch=1_700_000_000,
    )
    return dataclasses.replace(whole, **changes)


def image(**changes: Any) -> ImageDefinition:
    whole = ImageDefinition(
        id="app",
        recipe="app",
        variant="default",
        title="An application",
        summary="Says hello.",
        version="1.0",
        homepage="https://example.org/app",
        licence="MIT",
        citation=(),
        maintainers=(Maintainer(name="A Maintainer", email="a@example.org"),),
        base="debian-12",
        inputs=Inputs(apt=("hello",)),
        build=None,
        environment={"GREETING": "hello"},
        path=("/opt/app/bin",),
        commands=("hello",),
        needs=Needs(),
        tests=(SmokeTest(name="runs", command=("hello",)),),
        folder=folder(),
    )
    return dataclasses.replace(whole, **changes)


def base(**changes: Any) -> BuiltBase:
    whole = BuiltBase("debian-12", "sha256:" + "d" * 64, "layout", "debian:12-slim", 1_700_000_000)
    return dataclasses.replace(whole, **changes)


def spec(**changes: Any) -> ImageSpec:
    whole = ImageSpec(
        image=image(),
        base=base(),
        platform="linux/amd64",
        epoch=1_700_000_000,
        source="https://example.org/recipes",
    )
    return dataclasses.replace(whole, **changes)


def file(path: str = "data.txt", data: bytes = b"data", mode: int = 0o644) -> File:
    return File(path, mode, data)


def report(**changes: Any) -> Report:
    whole = Report(
        id="app",
        title="An application",
        version="1.0",
        status="passed",
        reference="imagefactory/app:1.0",
        input_digest="e" * 64,
        tests_digest="f" * 64,
        image_digest="sha256:" + "1" * 64,
        bytes=1_234_567,
        built="2024-05-01T12:00:00Z",
        steps=(),
        tests=(),
        engines={"docker": "27.0"},
        ingredients={},
    )
    return whole.model_copy(update=changes)
