"""A build of a project image that ends before its end: whatever it started is gone, and no disk half done."""

from __future__ import annotations

import secrets
import signal
import tempfile
import time
from pathlib import Path

import pytest

from tests.engines.bench import Bench, wait_for
from tests.engines.conftest import shared_folder
from tests.engines.machines import descendants, gone
from tests.engines.vmbase import NEWEST, copy_vm_base, shared

pytestmark = [pytest.mark.timeout(3600), pytest.mark.long]


@pytest.fixture(scope="module")
def ready(module_bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> tuple[Bench, str]:
    """A VM base, and an image whose containers are built."""
    copy_vm_base(shared(NEWEST, shared_folder(tmp_path_factory)), module_bench, NEWEST)
    image = module_bench.recipe("vm-ends")
    module_bench.run("build", image, "--format", "containers", timeout=900)
    return module_bench, image


@pytest.mark.parametrize(
    ("moment", "sign"),
    [("packer", signal.SIGINT), ("packer", signal.SIGKILL), ("testing", signal.SIGKILL)],
)
def test_what_ends_early_leaves_nothing(ready: tuple[Bench, str], moment: str, sign: signal.Signals) -> None:
    bench, image = ready
    log = bench.build / image / "vm" / "build.log"
    log.unlink(missing_ok=True)
    temporary = set(left_in_tmp())
    process = bench.start("build", image, "--format", "vm", "--verbose")

    def there() -> bool:
        assert process.poll() is None, process.communicate()
        names = set(descendants(process.pid).values())
        tested = log.is_file() and "keys-are-its-own" in log.read_text(errors="replace")
        return "qemu-system-x86" in names and ("packer" in names if moment == "packer" else tested)

    wait_for(there, 1500)
    time.sleep(secrets.randbelow(8))
    started = [*descendants(process.pid)]
    process.send_signal(sign)
    process.communicate(timeout=120)
    assert process.returncode == (130 if sign == signal.SIGINT else -sign)
    assert gone(started, 30)
    assert not list((bench.build / image).glob("*.qcow2"))
    if sign == signal.SIGKILL:
        bench.run("build", "debian-12")  # sweeps
    bench.assert_clean(patience=5)
    assert set(left_in_tmp()) <= temporary


def left_in_tmp() -> list[Path]:
    """What Packer may leave where it cannot tidy up."""
    return [*Path(tempfile.gettempdir()).glob("packer*")]
