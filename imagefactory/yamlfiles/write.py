"""Plain values to text: one line for each item of a list, so that a changed item is a changed line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

_DUMPER: type[Any] = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_ENDLESS = 1 << 20  # columns: no line is folded


def dump(values: Mapping[str, Any], heading: str) -> str:
    """YAML text of ``values`` (numbers, texts, and lists of flat mappings) below a comment."""
    lines = [f"# {line}" for line in heading.splitlines()]
    for key, value in values.items():
        if isinstance(value, list):
            lines += [f"{key}:", *(f"  - {_flow(item)}" for item in value)]
        else:
            lines.append(f"{key}: {_flow(value)}")
    return "\n".join(lines) + "\n"


def _flow(value: Any) -> str:
    text: str = yaml.dump(
        value, Dumper=_DUMPER, default_flow_style=True, sort_keys=False, width=_ENDLESS, allow_unicode=True
    )
    return text.removesuffix("...\n").strip()
