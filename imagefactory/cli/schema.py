"""JSON Schemas of the files that people and programs read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import BaseModel

from imagefactory.model.lock import FetchedFiles, LockFile
from imagefactory.model.recipe import BaseImage, Part, Recipe
from imagefactory.model.report import History, Report
from imagefactory.model.settings import SiteFile

_KINDS: dict[str, type[BaseModel]] = {
    "recipe": Recipe,
    "part": Part,
    "base": BaseImage,
    "lock": LockFile,
    "fetched": FetchedFiles,
    "site": SiteFile,
    "report": Report,
    "history": History,
}
_WITH_VALUES = ("recipe", "part")


def schema_of(kind: str) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a kind of file: recipe, part, base, lock, fetched, site,
    report or history.
    """
    schema = _KINDS[kind].model_json_schema(mode="validation")
    if kind in _WITH_VALUES:
        schema = _everywhere(schema, _with_values)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_everywhere(schema, _closed)}


def _with_values(schema: dict[str, Any]) -> dict[str, Any]:
    """Have editors take a text for good that holds a value: what it is then is checked by the factory."""
    pattern, holds_value = schema.get("pattern"), {"type": "string", "pattern": r"\$\{[a-z]"}
    if isinstance(pattern, str):
        return {**schema, "pattern": f"{pattern}|{holds_value['pattern']}"}
    if "oneOf" in schema:  # such a text may be any of them
        return {**{k: v for k, v in schema.items() if k != "oneOf"}, "anyOf": schema["oneOf"]}
    if isinstance(schema.get("enum"), list):
        kept: dict[str, Any] = {k: schema[k] for k in ("default", "title", "description") if k in schema}
        return {**kept, "anyOf": [{k: v for k, v in schema.items() if k not in kept}, holds_value]}
    return schema


def _closed(schema: dict[str, Any]) -> dict[str, Any]:
    """Have editors flag a key that fits no pattern, as the check does."""
    return {**schema, "additionalProperties": False} if "patternProperties" in schema else schema


def _everywhere(schema: Any, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    """A schema with every part of it changed."""
    if isinstance(schema, list):
        return [_everywhere(part, change) for part in schema]
    if not isinstance(schema, dict):
        return schema
    return change({key: _everywhere(part, change) for key, part in schema.items()})
