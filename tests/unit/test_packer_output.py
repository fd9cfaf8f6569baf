"""What is understood of Packer's output: recorded from Packer 1.6.6, whose script failed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagefactory.system.log import Log, Silence
from imagefactory.targets.vm.heard import Heard

BEFORE = """\
1795912884,,ui,say,==> qemu.vm: Connected to SSH!
1795912884,,ui,say,==> qemu.vm: Provisioning with shell script: /tmp/packer-shell146
1795912884,,ui,message,    qemu.vm: an earlier script
1795912884,,ui,say,==> qemu.vm: Provisioning with shell script: /build/packer/install.sh
"""
SCRIPT = """\
1795912884,,ui,message,    qemu.vm: unpacking%!(PACKER_COMMA) with a comma
1795912884,,ui,error,==> qemu.vm: warning: little
1795912884,,ui,error,==> qemu.vm: the payload's image is not sha256:1%!(PACKER_COMMA) which was tested
"""
AFTER = """\
1795912884,,ui,say,==> qemu.vm: Provisioning step had errors: Running the cleanup\
 provisioner%!(PACKER_COMMA) if present...
1795912884,,ui,say,==> qemu.vm: Deleting output directory...
1795912884,,ui,error,Build 'qemu.vm' errored after 1 second: Script exited with\
 non-zero exit status: 1.Allowed exit codes are: [0]
1795912884,,ui,say,\\n==> Wait completed after 1 second 546 milliseconds
1795912884,,error-count,1
1795912884,,ui,error,\\n==> Some builds didn't complete successfully and had errors:
1795912884,qemu.vm,error,Script exited with non-zero exit status: 1.Allowed exit codes are: [0]
1795912884,,ui,error,--> qemu.vm: Script exited with non-zero exit status: 1.Allowed exit codes are: [0]
1795912884,,ui,say,\\n==> Builds finished but no artifacts were created.
"""


@pytest.fixture
def heard(tmp_path: Path) -> Iterator[Heard]:
    with contextlib.closing(Log("app (VM)", tmp_path / "log", Silence())) as log:
        yield Heard(log)


def hear(heard: Heard, text: str) -> None:
    for line in text.splitlines(keepends=True):
        heard(line)


def test_a_script_that_failed_says_why_itself(heard: Heard) -> None:
    later = "".join(f"1795912884,,ui,message,    qemu.vm: line {number}\n" for number in range(40))
    hear(heard, BEFORE + SCRIPT + later + AFTER)
    assert heard.why() == "install.sh failed: the payload's image is not sha256:1, which was tested"
    assert heard.tail()[:3] == [
        "warning: little",
        "the payload's image is not sha256:1, which was tested",
        "line 25",
    ]
    assert heard.tail()[-1] == "line 39"
    assert heard.errors[-1].startswith("--> qemu.vm: Script exited")


def test_a_script_without_complaints(heard: Heard) -> None:
    hear(heard, BEFORE + "1795912884,,ui,message,    qemu.vm: almost done\n" + AFTER)
    assert heard.why() == "install.sh failed: almost done"
    assert heard.tail() == ["almost done"]


def test_a_script_that_said_nothing(heard: Heard) -> None:
    hear(heard, BEFORE + AFTER)
    assert heard.why().startswith(
        "install.sh failed: --> qemu.vm: Script exited with non-zero exit status: 1"
    )
    assert "an earlier script" in "".join(heard.tail())  # all that there is


def test_where_no_script_ran_it_is_packers_error(heard: Heard) -> None:
    hear(
        heard,
        "1795912884,,ui,say,==> qemu.vm: Waiting for SSH to become available...\n"
        "1795912884,,ui,error,==> qemu.vm: Timeout waiting for SSH.\n"
        "1795912884,,ui,say,==> qemu.vm: Deleting output directory...\n",
    )
    assert heard.why() == "==> qemu.vm: Timeout waiting for SSH."
    assert heard.step == "Deleting output directory"
