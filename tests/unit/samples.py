"""Values for tests to start from: each maker gives a whole one, with the changes a test needs."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from pathlib import Path
from typing import Any

from imagefactory.definitions.bases import base_names, host_platform, load_base
from imagefactory.definitions.recipes import load_images, recipe_names
from imagefactory.locks import base_lock_file, base_request, image_request, lock_file, write_locks
from imagefactory.model.lock import AptFile, CondaFile, Lock, PipFile, SourceFile, StageLock
from imagefactory.model.recipe import (
    BaseImage,
    BuildInputs,
    BuildStage,
    Conda,
    Gpu,
    Inputs,
    Maintainer,
    Needs,
    Pip,
    PipIndex,
    SmokeTest,
    Source,
    Terms,
)
from imagefactory.model.report import Report
from imagefactory.model.spec import BaseDefinition, BaseSpec, File, ImageDefinition, ImageSpec, RecipeFolder
from imagefactory.model.target import Target, TargetId
from imagefactory.plan.resolve import make_target
from imagefactory.system.site import Site
from imagefactory.system.workspace import Workspace
from imagefactory.targets.oci.render import render
from imagefactory.targets.register import Kinds

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
    inputs=BuildInputs(apt=("gcc", "make"), sources={"app": ARCHIVE, "library": REPOSITORY}),
    keep=("/opt/app",),
)
PIP = Pip(
    packages=("numpy>=1.26", "Torch"),
    constraints=("setuptools<80",),
    indexes={"wheels": PipIndex(url="https://wheels.example.org/simple", packages=("torch",))},
)
CONDA = Conda(channels=("conda-forge", "https://conda.example.org/lab"), packages=("fermitools==2.5.1",))
GPU = Gpu(cuda="12.4", driver="525.60.13", capability=("7.5", "8.0", "9.0"))


def named(text: str, name: str) -> str:
    """A recipe's text under another name."""
    return text.replace("name: app", f"name: {name}", 1)


def folder(**changes: Any) -> RecipeFolder:
    whole = RecipeFolder(
        install=b"#!/bin/sh\n",
        files=(),
        tests=(),
        icons=(),
        readme="",
        revision="c" * 40,
        epoch=1_700_000_000,
    )
    return dataclasses.replace(whole, **changes)


def image(**changes: Any) -> ImageDefinition:
    whole = ImageDefinition(
        id="app",
        recipe="app",
        variant="default",
        selector="app",
        repository="app",
        title="An application",
        summary="Says hello.",
        version="1.0",
        version_from=None,
        homepage="https://example.org/app",
        licence="MIT",
        terms=Terms(),
        citation=(),
        maintainers=(Maintainer(name="A Maintainer", email="a@example.org"),),
        base="debian-12",
        inputs=Inputs(apt=("hello",)),
        build=None,
        environment={"GREETING": "hello"},
        path=("/opt/app/bin",),
        home_folders=(),
        topics=(),
        tasks=(),
        keywords=(),
        edam=(),
        commands=("hello",),
        gui_apps=(),
        needs=Needs(),
        tests=(SmokeTest(name="runs", command=("hello",)),),
        waivers=(),
        folder=folder(),
    )
    return dataclasses.replace(whole, **changes)


def definition(**changes: Any) -> BaseDefinition:
    """A base image as its file has it."""
    whole = {
        "name": "debian-12",
        "title": "Debian 12 (bookworm)",
        "distribution": "debian",
        "suite": "bookworm",
        "published": "debian:12-slim",
    }
    return BaseDefinition(BaseImage(**{**whole, **changes}), "linux/amd64", 1_700_000_000)


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def apt_file(name: str = "hello", version: str = "2.10-3", **changes: Any) -> AptFile:
    whole = {
        "name": name,
        "version": version,
        "archive": "debian",
        "file": f"pool/main/{name[0]}/{name}/{name}_{version.partition(':')[2] or version}_amd64.deb",
        "bytes": 1000,
        "sha256": sha256(f"apt {name} {version}"),
    }
    return AptFile(**{**whole, **changes})


def pip_file(name: str = "numpy", version: str = "2.1.0", **changes: Any) -> PipFile:
    whole = {
        "name": name,
        "version": version,
        "file": f"{name}/{name.replace('-', '_')}-{version}-py3-none-any.whl",
        "bytes": 2000,
        "sha256": sha256(f"pip {name} {version}"),
    }
    return PipFile(**{**whole, **changes})


def conda_file(name: str = "fermitools", version: str = "2.5.1", **changes: Any) -> CondaFile:
    whole = {
        "name": name,
        "version": version,
        "build": "h0_1",
        "channel": "conda-forge",
        "file": f"linux-64/{name}-{version}-h0_1.conda",
        "bytes": 3000,
        "sha256": sha256(f"conda {name} {version}"),
    }
    return CondaFile(**{**whole, **changes})


def source_file(name: str = "app", source: Source = ARCHIVE, **changes: Any) -> SourceFile:
    """A source as it is locked, before anybody has fetched it."""
    whole = {
        "name": name,
        "version": "1.0",
        "file": str(source.url or source.git).rpartition("/")[2],
        "sha256": source.sha256 or "",
        "commit": source.commit,
    }
    return SourceFile(**{**whole, **changes})


def lock(**changes: Any) -> Lock:
    """A lock of stages, given by their names as mappings of kinds to files."""
    request = changes.pop("request", sha256("request"))
    system = changes.pop("system", None)
    stages: dict[str, Any] = {stage: StageLock(**files) for stage, files in changes.items()}
    return Lock(request=request, system=system, **stages)


def base_lock(**changes: Any) -> Lock:
    files = (
        apt_file("dash", "0.5.12-2"),
        apt_file("libc6", "2.36-9+deb12u10"),
        apt_file("python3", "3.11.2-1"),
    )
    return lock(**{"image": {"apt": files}, **changes})


def made_up_lock(image: ImageDefinition, request: str = "0" * 64) -> Lock:
    """What locking an image might give: one file at least of every kind that it declares."""
    ours, theirs = image.inputs, image.build.inputs if image.build else BuildInputs()
    wanted = {*ours.apt, *(("python3",) if ours.pip else ())}
    files = {
        "apt": tuple(apt_file(name) for name in sorted(wanted)),
        "pip": tuple(_pip_files(ours.pip)) if ours.pip else (),
        "conda": tuple(_conda_files(ours.conda)) if ours.conda else (),
        "sources": tuple(source_file(name, source) for name, source in ours.sources.items()),
    }
    build = {
        "apt": tuple(apt_file(name) for name in sorted({*theirs.apt} - wanted)),
        "sources": tuple(source_file(name, source) for name, source in theirs.sources.items()),
    }
    tools: dict[str, Any] = {}
    if ours.conda and "python3" not in wanted:
        tools["apt"] = (apt_file("python3", "3.11.2-1+b1"),)
    if ours.pip or ours.conda:
        names = ["uv"] * bool(ours.pip) + ["py-rattler"] * bool(ours.conda)
        tools["pip"] = tuple(pip_file(name, "0.28.0") for name in names)
    stages = {"image": files, "build": build, "tools": tools}
    ordered = {
        stage: {
            kind: tuple(sorted(each, key=lambda file: (file.name, file.version, file.file)))
            for kind, each in kinds.items()
        }
        for stage, kinds in stages.items()
    }
    return lock(request=request, **ordered)


def _pip_files(pip: Pip) -> list[PipFile]:
    homes = {name.lower(): key for key, index in pip.indexes.items() for name in index.packages}
    names = [re.split(r"[^A-Za-z0-9._-]", each, maxsplit=1)[0].lower() for each in pip.packages]
    return [pip_file(name, index=homes.get(name, "")) for name in dict.fromkeys([*names, *homes])]


def _conda_files(conda: Conda) -> list[CondaFile]:
    names = [re.split(r"[^a-z0-9_.-]", each, maxsplit=1)[0] for each in conda.packages]
    return [
        conda_file(name, channel=conda.channels[number % len(conda.channels)])
        for number, name in enumerate(dict.fromkeys(names))
    ]


def base_spec(**changes: Any) -> BaseSpec:
    """A base image that is locked."""
    return dataclasses.replace(BaseSpec(definition(), base_lock()), **changes)


def spec(**changes: Any) -> ImageSpec:
    """A spec, with a made-up lock of its image unless there is another."""
    of_image = changes.get("image") or image()
    whole = ImageSpec(of_image, base_spec(), made_up_lock(of_image), "https://example.org/recipes")
    return dataclasses.replace(whole, **changes)


def target(kind: str = "oci", of: ImageSpec | BaseSpec | None = None, **changes: Any) -> Target:
    """A target of a kind, with the digests that it really has."""
    chosen = of or (base_spec() if kind == "base" else spec())
    kinds = Kinds(Workspace(Path("/nowhere")))
    base, wants = (chosen.base.base, chosen.image.needs) if isinstance(chosen, ImageSpec) else (None, Needs())
    ids = kinds[kind].needs(chosen.name, base, wants)
    needs = [
        target(id.kind, chosen.base if isinstance(chosen, ImageSpec) and id.kind == "base" else chosen)
        for id in ids
    ]
    made = make_target(kinds[kind], TargetId(kind, chosen.name), chosen, needs)
    return dataclasses.replace(made, **changes)


def rendered(of: ImageSpec | None = None) -> tuple[File, ...]:
    """The files of a Docker build."""
    return render(target("oci", of))


def everything(**changes: Any) -> ImageDefinition:
    """An image with inputs of all kinds, a build stage, a GPU and folders of its own."""
    whole = image(
        inputs=Inputs(apt=("hello",), pip=PIP, conda=CONDA),
        build=STAGE,
        path=("/opt/app/bin", "/opt/venv/bin", "/opt/conda/bin"),
        home_folders=(".config/app", "it's mine"),
        needs=Needs(gpu=GPU),
    )
    return dataclasses.replace(whole, **changes)


def lock_all(root: Workspace, site: Site | None = None) -> None:
    """Give every base image and every recipe of a checkout the lock that it asks for, made up."""
    site, bases = site or Site(), {}
    for name in base_names(root):
        bases[name] = base_lock(request=base_request(load_base(root, name)))
        write_locks(base_lock_file(root, name), {name: bases[name]}, host_platform())
    for recipe in recipe_names(root):
        locks = {
            each.id: made_up_lock(
                each, image_request(each, load_base(root, each.base), bases[each.base], site)
            )
            for each in load_images(root, [recipe])
        }
        write_locks(lock_file(root, recipe), locks, host_platform())


def file(path: str = "data.txt", data: bytes = b"data", mode: int = 0o644) -> File:
    return File(path, mode, data)


def report(of: Target | None = None, **changes: Any) -> Report:
    """The report of a target that passed."""
    whole: dict[str, Any] = {
        "kind": of.id.kind if of else "oci",
        "id": of.id.name if of else "app",
        "title": "An application",
        "version": "1.0",
        "status": "passed",
        "reference": "imagefactory/app:1.0",
        "input_digest": of.input_digest if of else "e" * 64,
        "tests_digest": of.tests_digest if of else "f" * 64,
        "digest": "sha256:" + "1" * 64,
        "bytes": 1_234_567,
        "built": "2024-05-01T12:00:00Z",
        "seconds": 12.5,
        "steps": (),
        "tests": (),
        "engines": {"docker": "27.0"},
        "ingredients": dict(of.ingredients) if of else {},
    }
    return Report(**{**whole, **changes})


def files_of_part(
    workspace: Workspace,
    name: str,
    text: str,
    *,
    install: str = "",
    tests: dict[str, str] | None = None,
    files: dict[str, str] | None = None,
) -> None:
    """Write a part of recipes."""
    folder = workspace.recipes / "_parts" / name
    folder.mkdir(parents=True)
    (folder / "part.yaml").write_text(text)
    if install:
        (folder / "install.sh").write_text(install)
    for beside, those in (("tests", tests), ("files", files)):
        for file, content in (those or {}).items():
            (folder / beside).mkdir(exist_ok=True)
            (folder / beside / file).write_text(content)
