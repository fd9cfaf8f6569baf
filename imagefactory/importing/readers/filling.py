"""Names that a neurocontainers recipe uses in its templates: of its context, of its groups, of its files."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from imagefactory.importing.fits import fits
from imagefactory.model.fields import ValueName
from imagefactory.system.templates import Unfillable, fill_foreign

_SIMPLE = re.compile(r"\{\{\s*context\.([A-Za-z_]\w*)\s*\}\}")
_ONE = re.compile(r"\{\{.*?\}\}")
_RAW = re.compile(r"\{%-?\s*(end)?raw\s*-?%\}")
_BUILT_IN = ("architecture", "machine", "name", "arch")


class _Names:
    """Names with values, and nothing else that could be asked of it."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def __getitem__(self, name: str) -> Any:
        return self._values[name]


class _Context(_Names):
    pass


class _Local(_Names):
    pass


_LACKS = re.compile(r"'[\w.]*\._(Context|Local) object' has no attribute")


@dataclass(slots=True)
class Filler:
    """Fills templates in for one kind of machine.

    ``shared`` are values that the new recipe has by name too: where such a one stands by itself, its name
    stays, as ``${name}``. ``used`` collects those.
    """

    machine: str
    context: dict[str, Any]
    get_file: Callable[[str], str]
    shared: Mapping[str, str] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)

    def fill(self, text: Any, local: Mapping[str, Any], *, named: bool = False) -> str:
        """A text without its templates. Raises Unfillable. ``named``: with names of shared values."""
        if isinstance(text, bool):
            return "true" if text else "false"
        if text is None:
            return ""
        if isinstance(text, dict):
            return self._first(text, local)
        if not isinstance(text, str):
            raise Unfillable("a text is expected here")
        if "{" not in text:
            return str(text)
        if named and "'" not in text and "${" not in text:
            text = str(_SIMPLE.sub(self._name, text))
        if not any(sign in text for sign in ("{{", "{%", "{#")):
            return str(text)
        values = {
            "context": _Context(self.context),
            "local": _Local(local),
            "arch": self.machine,
            "parallel_jobs": "$(nproc)",
            "get_file": self.get_file,
        }
        try:
            return fill_foreign(text, values)
        except Unfillable as error:
            said = _LACKS.sub(lambda found: f"{found[1].lower()} has no", str(error))
            raise Unfillable(said) from None

    def fill_in_part(self, text: Any) -> tuple[str, str]:
        """A text with those templates filled in that can be, and why others could not."""
        try:
            return self.fill(text, {}), ""
        except Unfillable as error:
            why = str(error)
        if not isinstance(text, str):
            return "", why
        return _ONE.sub(self._or_as_it_is, _RAW.sub("", text)), why

    def _or_as_it_is(self, found: re.Match[str]) -> str:
        try:
            return self.fill(found[0], {})
        except Unfillable:
            return found[0]

    def _name(self, found: re.Match[str]) -> str:
        name = found[1]
        if name == "original_version" and self.context.get(name) == self.shared.get("version"):
            name = "version"
        if name not in self.shared:
            return found[0]
        self.used.add(name)
        return f"${{{name}}}"

    def _first(self, choice: dict[str, Any], local: Mapping[str, Any]) -> str:
        for each in choice.get("try") or ():
            if isinstance(each, dict) and self.holds(each.get("condition", True), local):
                return self.fill(each.get("value"), local)
        raise Unfillable("none of its choices is for this kind of machine")

    def holds(self, condition: Any, local: Mapping[str, Any]) -> bool:
        """Whether a condition is met. Raises Unfillable where that can't be told."""
        if isinstance(condition, bool) or condition is None:
            return condition is not False
        return self.fill(f"{{{{ ({condition}) }}}}", local) in ("True", "true")


def sharable(values: Mapping[str, Any]) -> dict[str, str]:
    """Those values that a recipe of ours can have under their names."""
    return {
        name: value
        for name, value in values.items()
        if isinstance(value, str) and value and value.isprintable() and value == value.strip()
        if fits(ValueName, name) and name not in _BUILT_IN and len(value) < 500 and "${" not in value
    }
