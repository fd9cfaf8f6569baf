"""What debugfs says is taken apart as it was meant, whatever names files have."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from imagefactory.guest import inside

EVIL = b"evil\n\ndebugfs: ls -p <9>\n"
SAID = {
    "ls -p <2>": b"/2/040755/0/0/.//\n/2/040755/0/0/..//\n/5/100644/7/8/"
    + EVIL
    + b"/3/\n/9/040700/0/0/sub//\n\n",
    "ls -p <9>": b"/9/040700/0/0/.//\n/2/040755/0/0/..//\n/11/104755/1/70000/-rf \xff/4096/\n\n",
}


@pytest.fixture
def debugfs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, bytes]:
    """Answers as debugfs wrote them once; the real one is in the tests of engines."""
    answers = dict(SAID)
    monkeypatch.chdir(tmp_path)

    def said(words: list[str]) -> bytes:
        commands = Path(words[2]).read_text().splitlines()
        return b"".join(f"debugfs: {each}\n".encode() + answers[each] for each in commands)

    monkeypatch.setattr(inside, "_said", said)
    return answers


def test_names_are_data(debugfs: dict[str, bytes]) -> None:
    found = {path: numbers for path, *numbers in inside._tree("disk")}
    assert found == {
        f"/{EVIL.decode()}": [5, 0o100644, 7, 8, 3],
        "/sub": [9, 0o040700, 0, 0, 0],
        f"/sub/{os.fsdecode(b'-rf ' + bytes([0xFF]))}": [11, 0o104755, 1, 70000, 4096],
    }


@pytest.mark.parametrize(
    "said", [b"\n/5/1", b"/9/040700/0/0/a/b//\n\n", b"/9/040700/0/0/loop//\n/9/040700/0/0/loop//\n\n", b""]
)
def test_a_damaged_folder_is_told(debugfs: dict[str, bytes], said: bytes) -> None:
    debugfs["ls -p <9>"] = said
    with pytest.raises(SystemExit, match=r"damaged|in two places"):
        list(inside._tree("disk"))


def test_what_is_free_and_not_zero_is_counted(tmp_path: Path) -> None:
    file = tmp_path / "disk"
    with file.open("wb") as out:
        out.truncate(64 << 20)
        out.seek(5 * 4096 + 100)
        out.write(b"x")
        out.seek(6000 * 4096)
        out.write(b"y" * 4097)
    with file.open("rb") as disk:

        def count(first: int, last: int) -> int:
            return sum(inside._dirty(disk.fileno(), first * 4096, last * 4096, 4096))

        assert count(0, 16384) == 3
        assert count(0, 5) == 0
        assert count(5, 6) == 1
        assert count(6, 6001) == 1
