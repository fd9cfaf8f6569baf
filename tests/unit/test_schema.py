"""The JSON Schemas that editors and programs read are those of the code, and hold for our files."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest
import yaml

from tests.conftest import REPOSITORY
from tests.unit.samples import RECIPE, report

SCHEMAS = REPOSITORY / "docs" / "schema"
FILES = [
    *(("recipe", file) for file in sorted((REPOSITORY / "recipes").glob("*/recipe.yaml"))),
    *(("lock", file) for file in sorted((REPOSITORY / "recipes").glob("*/lock.yaml"))),
    *(("fetched", file) for file in sorted((REPOSITORY / "recipes").glob("*/fetched.yaml"))),
    *(
        ("lock" if file.stem.endswith(".lock") else "base", file)
        for file in sorted((REPOSITORY / "base_images").glob("*.yaml"))
    ),
]


def validator(kind: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(json.loads((SCHEMAS / f"{kind}.json").read_text()))


@pytest.mark.parametrize("kind", ["recipe", "part", "base", "lock", "fetched", "site", "report", "history"])
def test_the_committed_schema_is_current(
    kind: str, imagefactory: Callable[..., tuple[int, str, str]]
) -> None:
    status, out, _ = imagefactory("schema", kind)
    assert status == 0
    assert (SCHEMAS / f"{kind}.json").read_text(encoding="utf-8") == out, "run: make schema"
    jsonschema.Draft202012Validator.check_schema(json.loads(out))


@pytest.mark.parametrize(("kind", "file"), FILES, ids=lambda value: getattr(value, "parts", [value] * 2)[-2])
def test_every_committed_file_keeps_to_the_schema(kind: str, file: Any) -> None:
    validator(kind).validate(yaml.safe_load(file.read_text(encoding="utf-8")))


def test_a_report_keeps_to_its_schema() -> None:
    validator("report").validate(report().model_dump(mode="json"))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("licence: MIT", "license: MIT"),
        ("licence: MIT", "licence: M I T"),
        ('"1.0"', "1.0"),
        ("name: app", "name: My App"),
        ("[hello, --version]", "[]"),
        ("base: debian-12\n", ""),
        ("apt: [hello]", "apt: [--yes]"),
        ("commands: [hello]", "needs: {memory: 2 GB}"),
        ("https://example.org/app", "example.org"),
    ],
)
def test_editors_see_what_check_refuses(old: str, new: str) -> None:
    assert RECIPE.count(old) == 1
    assert not list(validator("recipe").iter_errors(yaml.safe_load(RECIPE)))
    assert list(validator("recipe").iter_errors(yaml.safe_load(RECIPE.replace(old, new))))
