"""How fast the factory is, as ratios of two things measured side by side. Run it with: make bench

Absolute times mean little on shared machines. The result goes to build/bench.json as well, with what the
machine is. ``make bench ARGS=scale`` (or engines) measures a part.
"""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from tests.bench.engines import engines
from tests.bench.measure import Row
from tests.bench.scale import scale

ROOT = Path(__file__).parents[2]
PARTS = {"scale": lambda folder: scale(folder, ROOT / "base_images"), "engines": engines}


def main(names: list[str]) -> None:
    """Measure each part, and print a line for each pair as soon as it is measured."""
    unknown = set(names) - set(PARTS)
    if unknown:
        raise SystemExit(f"no part is called {', '.join(sorted(unknown))}: there are {', '.join(PARTS)}")
    rows: list[Row] = []
    for name in names or PARTS:
        with tempfile.TemporaryDirectory() as folder:
            for row in PARTS[name](Path(folder)):
                rows.append(row)
                _show(row)
    file = ROOT / "build" / "bench.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(
        json.dumps({"machine": _machine(), "rows": [_plain(row) for row in rows]}, indent=2) + "\n"
    )
    Console().print(f"\nwritten to {file.relative_to(ROOT)}")


def _show(row: Row) -> None:
    ratio = row.ours / row.theirs
    colour = "green" if ratio <= row.goal else "red"
    measured = f"{row.ours:.2f} / {row.theirs:.2f} {row.unit}"
    Console(highlight=False).print(
        f"[{colour}]{ratio:.2f}[/] (goal {row.goal:g})  {row.what}, against {row.against}: {measured}",
        soft_wrap=True,
    )


def _plain(row: Row) -> dict[str, object]:
    return {**dataclasses.asdict(row), "ratio": round(row.ours / row.theirs, 3)}


def _machine() -> dict[str, object]:
    model = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "measured": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "cores": os.cpu_count(),
        "processor": model[0].partition(": ")[2] if model else platform.processor(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


if __name__ == "__main__":
    main(sys.argv[1:])
