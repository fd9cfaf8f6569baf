"""What a variant leaves out of its recipe."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, TypeVar

from imagefactory.model.recipe import (
    BuildInputs,
    BuildStage,
    Conda,
    Inputs,
    Pip,
    Recipe,
    Without,
    conda_name,
    pip_name,
)

T = TypeVar("T")


def leave_out(recipe: Recipe, without: Without) -> Recipe:
    """The recipe without what is named; lists that must not be empty may be so in it."""
    if not without.model_fields_set:
        return recipe
    return recipe.model_copy(
        update={
            "inputs": _inputs(recipe.inputs, without),
            "build": _build(recipe.build, without) if recipe.build else None,
            "environment": _keys(recipe.environment, without.environment),
            "path": _items(recipe.path, without.path),
            "home_folders": _items(recipe.home_folders, without.home_folders),
            "commands": _items(recipe.commands, without.commands),
            "test_data": _keys(recipe.test_data, without.test_data),
            "files": _keys(recipe.files, without.files),
            "gui_apps": _items(recipe.gui_apps, without.gui_apps, lambda app: app.command),
            "tests": _items(recipe.tests, without.tests, lambda test: test.name),
        }
    )


def _inputs(inputs: Inputs, without: Without) -> Inputs:
    pip = _pip(inputs.pip, {pip_name(name) for name in without.pip}) if inputs.pip else None
    conda = _conda(inputs.conda, without.conda) if inputs.conda else None
    return inputs.model_copy(update={**_plain(inputs, without), "pip": pip, "conda": conda})


def _build(stage: BuildStage, without: Without) -> BuildStage:
    inputs = stage.inputs.model_copy(update=_plain(stage.inputs, without))
    return stage.model_copy(update={"inputs": inputs})


def _plain(inputs: BuildInputs, without: Without) -> dict[str, Any]:
    return {
        "apt": _items(inputs.apt, without.apt),
        "sources": _keys(inputs.sources, without.sources),
    }


def _pip(pip: Pip, names: Collection[str]) -> Pip:
    indexes = {
        name: index.model_copy(update={"packages": _items(index.packages, names, pip_name)})
        for name, index in pip.indexes.items()
    }
    changes = {
        "packages": _items(pip.packages, names, pip_name),
        "constraints": _items(pip.constraints, names, pip_name),
        "indexes": {name: index for name, index in indexes.items() if index.packages},
    }
    return pip.model_copy(update=changes)


def _conda(conda: Conda, names: Collection[str]) -> Conda:
    return conda.model_copy(update={"packages": _items(conda.packages, names, conda_name)})


def _items(
    items: Iterable[T], names: Collection[str], called: Callable[[T], str] = lambda item: str(item)
) -> tuple[T, ...]:
    return tuple(item for item in items if called(item) not in names)


def _keys(items: Mapping[str, T], names: Collection[str]) -> dict[str, T]:
    return {name: value for name, value in items.items() if name not in names}
