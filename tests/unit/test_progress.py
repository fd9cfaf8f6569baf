"""What a watcher sees where there is no terminal: plain lines, and folded logs in a CI that folds."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest
from rich.console import Console
from rich.text import Text

from imagefactory.cli.errors import show_error
from imagefactory.cli.progress import LiveProgress, PlainProgress, watch
from imagefactory.cli.runs import print_json
from imagefactory.cli.text import Screen, table
from imagefactory.cli.words import NORMAL, QUIET
from imagefactory.errors import BuildFailed
from imagefactory.model.report import TestReport
from imagefactory.model.spec import Step
from imagefactory.system.log import Log, Progress
from imagefactory.system.processes import Stop


def play(progress: Progress) -> None:
    progress.phase("app", "building")
    progress.step("app", "install.sh")
    progress.line("app", "\x1b[31mred\x1b[0m\ttext")
    progress.line("app", "::endgroup::")
    progress.step_done("app", Step("install.sh", 1.26))
    progress.step_done("app", Step("add the user", 0.0, cached=True))
    progress.test_done("app", TestReport(name="runs", kind="smoke", status="passed", measures={"level": 2.0}))
    progress.test_done("app", TestReport(name="labels", kind="contract", status="failed", reason="none"))
    waived = ("private key in opt/key: an example",)
    progress.test_done("app", TestReport(name="no-secrets", kind="contract", status="passed", waived=waived))
    progress.done("app", ok=True, text="done")


PLAIN = """\
app: building
app: install.sh ...
app: install.sh: 1.3 s
app: add the user: cached
app: contract test labels failed
app: contract test no-secrets passed: waived: private key in opt/key: an example
app: done: 2 of 3 tests passed
"""


def test_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    play(PlainProgress(verbose=False))
    assert capsys.readouterr().err == PLAIN


def test_every_line_when_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    play(PlainProgress(verbose=True))
    lines = capsys.readouterr().err.splitlines()
    assert "app: smoke test runs passed: level = 2" in lines
    assert lines[2:4] == ["app: |  [31mred [0m\ttext", "app: | ::endgroup::"]
    assert "\x1b" not in "".join(lines)


def test_github_folds_the_log(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    progress = PlainProgress(verbose=False)
    play(progress)
    written = capsys.readouterr().err
    assert written.startswith(PLAIN)
    # A line of the log that looks like a command to GitHub is not at the beginning of a line.
    assert written.removeprefix(PLAIN).splitlines() == [
        "::group::log of app",
        "  [31mred [0m\ttext",
        " ::endgroup::",
        "::endgroup::",
    ]
    progress.done("app", ok=True, text="done")
    assert capsys.readouterr().err == "app: done\n"


def test_gitlab_folds_the_log(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITLAB_CI", "true")
    play(PlainProgress(verbose=False))
    written = capsys.readouterr().err.removeprefix(PLAIN)
    start = r"\x1b\[0Ksection_start:(\d+):log_app\[collapsed=true\]\r\x1b\[0Klog of app\n"
    assert re.fullmatch(start + r"(?s:.+)\x1b\[0Ksection_end:\d+:log_app\r\x1b\[0K\n", written)
    assert "\x1b[31m" not in written


def test_a_terminal_shows_what_is_done() -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=100, color_system=None)
    with LiveProgress(console) as live:
        play(live)
    lines = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line).strip() for line in screen.getvalue().splitlines()]
    assert "✓ app install.sh 1.3 s" in lines
    assert not any("smoke test runs" in line for line in lines)
    assert "✓ app 2 of 3 tests passed" in lines
    assert "✗ app contract test labels failed" in lines


HOSTILE = "\x1b[2J\x1b]0;t\x07 \x9b31m \r \x7f \u202e \u2066 \x00 \b a\tb\u00e9"


def hostile(text: str) -> list[str]:
    """What of it a terminal would obey, colours of our own aside."""
    return [c for c in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text) if not c.isprintable() and c not in "\n\t"]


def test_what_upstreams_say_is_never_obeyed_by_a_terminal(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    log = Log("app", tmp_path / "log", PlainProgress(verbose=True))
    log.line(f"{HOSTILE}\nforged: passed")
    log.phase(HOSTILE)
    log.done(ok=False, text=HOSTILE)
    log.close()
    written = (tmp_path / "log").read_bytes().decode()
    assert not hostile(written)
    assert "\x1b" not in written
    assert "a\tb\u00e9" in written
    show_error(BuildFailed(HOSTILE, hint=HOSTILE, tail=[HOSTILE]))
    said = capsys.readouterr().err
    assert "\x1b" not in said
    assert not hostile(said)
    assert [line.partition(":")[0] for line in said.splitlines()[:3]] == ["app"] * 3  # none is forged
    assert said.count("a\tb\u00e9") == 6


def test_a_screen_shows_texts_and_obeys_none() -> None:
    out = io.StringIO()
    screen = Screen(file=out, force_terminal=True, width=200, color_system=None)
    grid = table("name", wraps=())
    grid.add_row(Text(HOSTILE))
    with LiveProgress(screen) as live:
        live.phase(HOSTILE, HOSTILE)
        live.step(HOSTILE, HOSTILE)
        screen.print(grid)
        screen.print(Text(HOSTILE))
        live.done(HOSTILE, ok=True, text=HOSTILE)
    said = out.getvalue()
    assert not hostile(said.replace("\r", ""))  # the live view's own
    assert "\x1b]" not in said
    assert "\x1b[2J" not in said
    assert "b\u00e9" in said


def test_json_says_all_and_shows_nothing_to_obey(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({HOSTILE: [HOSTILE, "\U000e0001"]})
    said = capsys.readouterr().out
    assert not hostile(said)
    assert "\x1b" not in said
    assert "\u00e9" in said
    assert json.loads(said) == {HOSTILE: [HOSTILE, "\U000e0001"]}


def test_quiet_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with watch(QUIET) as (progress, _):
        play(progress)
    assert capsys.readouterr() == ("", "")


def test_an_interrupt_stops_what_runs() -> None:
    stops: list[Stop] = []

    def work() -> None:
        with watch(NORMAL) as (progress, stop):
            assert isinstance(progress, PlainProgress)
            stops.append(stop)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert stops[0]
