#!/usr/bin/python3 -I
"""imagefactory-selftest: run the application's own smoke tests on this machine, in Docker and in Apptainer.

Usage: imagefactory-selftest [docker] [apptainer]

Says of each test what was expected and what was found. Exit status: 0 all passed, 1 some failed, 2 wrong
usage. A test may take ten times its limit, for this machine may be slower than the one that made the image.
"""

import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TESTS = Path("/opt/imagefactory/tests/tests.json")
ENGINES = ("docker", "apptainer")
PATIENCE = 10


def main(words: list[str]) -> int:
    """Run all tests in the engines that are named, or in both; the exit status."""
    if any(word not in ENGINES for word in words):
        say((__doc__ or "").strip())
        return 0 if words == ["--help"] else 2
    told = json.loads(TESTS.read_text(encoding="utf-8"))
    passed = failed = 0
    for engine in words or ENGINES:
        for test in told["tests"]:
            start = time.monotonic()
            found = list(run(test, told["launcher"], engine))
            fine = all(good for good, _ in found)
            passed, failed = passed + fine, failed + (not fine)
            how = "passed" if fine else "FAILED"
            say(f"{how}  {test['name']} in {engine}, {time.monotonic() - start:.1f} s")
            for good, line in found:
                say(f"        {'' if good else 'NOT: '}{line}")
    if told["left_out"]:
        say(f"left out: {', '.join(told['left_out'])}")
    say(f"{passed} of {passed + failed} tests passed")
    return 1 if failed or not passed else 0


def run(test: dict[str, Any], launcher: str, engine: str) -> Iterator[tuple[bool, str]]:
    """What is expected of one test: whether it is so, and a line that says it."""
    limit = test["time_limit"] * PATIENCE
    with tempfile.TemporaryDirectory(dir=Path.home()) as name:
        folder = Path(name)
        try:
            done = subprocess.run(
                ["/usr/bin/env", f"IMAGEFACTORY_ENGINE={engine}", launcher, *test["command"]],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=limit,
                check=False,
            )
        except subprocess.TimeoutExpired:
            yield False, f"it ends within {limit:g} s"
            return
        output = done.stdout.decode("utf-8", "replace")
        yield done.returncode == test["status"], f"exit status {done.returncode}, expected {test['status']}"
        for pattern in test["output"]:
            yield re.search(pattern, output, re.MULTILINE) is not None, f"output matches '{pattern}'"
        for what, measure in test["measures"].items():
            yield measured(what, measure, output)
        for file in test["files"]:
            there = (folder / file).is_file() and (folder / file).stat().st_size > 0
            yield there, f"the file {file} is there"


def measured(what: str, measure: dict[str, Any], output: str) -> tuple[bool, str]:
    """A number in the output, and whether it is as expected."""
    expected = f"expected {measure['min']:g} to {measure['max']:g}"
    match = re.search(measure["pattern"], output, re.MULTILINE)
    try:
        number = float(match[1] if match else "")
    except ValueError:
        return False, f"{what} is found, {expected}"
    return measure["min"] <= number <= measure["max"], f"{what} is {number:g}, {expected}"


def say(line: str) -> None:
    """Write a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
