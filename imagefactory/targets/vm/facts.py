"""What a project image holds, as files: those that are rendered of a specification alone, and those that say
what was made of what.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from imagefactory.model.report import Report
from imagefactory.model.spec import File, ImageSpec
from imagefactory.system.templates import fill, text_of
from imagefactory.targets.vm.desktop import MEMORY_MIB, desktop_files
from imagefactory.targets.vm.examples import examples_at, examples_of
from imagefactory.targets.vm.gpu import GPU_LINKS, gpu_files
from imagefactory.targets.vm.volumes import VOLUME_LINKS, volume_files

MARK = "imagefactory-payload"
"""A file of the payload by which it is told from other disks."""
TESTS = "opt/imagefactory/tests"
"""The recipe's tests, in the machine as in containers' ``/tests``."""
HOME = "opt/imagefactory"
LOAD = "var/lib/imagefactory/load"
_RELEASE = "etc/imagefactory/release.json"


def template_files(spec: ImageSpec, disk_mib: int) -> tuple[File, ...]:
    """Packer's template and the scripts that it runs. Pure."""
    values = {
        "name": spec.name,
        "recipe": spec.image.recipe,
        "version": spec.image.version,
        "mark": MARK,
        "memory_mib": memory_mib(spec),
        "disk_mib": disk_mib,
        "min_disk": -(-disk_mib // 1024),
    }
    texts = {
        f"{spec.name}.pkr.hcl": fill(__package__, "image.pkr.hcl.j2", values),
        "plugins/plugins.pkr.hcl": text_of(__package__, "plugins.pkr.hcl"),
        "install.sh": fill(__package__, "install.sh.j2", values),
        "clean.sh": text_of(__package__, "clean.sh"),
    }
    return tuple(File(f"vm/{name}", 0o644, text.encode()) for name, text in texts.items())


def memory_mib(spec: ImageSpec) -> int:
    """Of the machine that builds, and of those that are tested: what the application needs, 1 GiB, and what a
    desktop takes.
    """
    needs = spec.image.needs
    return 1024 + (needs.memory >> 20) + (MEMORY_MIB if needs.desktop else 0)


def machine_files(spec: ImageSpec) -> tuple[File, ...]:
    """The files of the machine that follow from the specification. Pure."""
    image = spec.image
    values = {
        "title": image.title,
        "version": image.version,
        "summary": image.summary,
        "begin": _begin(spec),
        "examples": f"/{examples_at(spec)}" if examples_of(spec) else "",
    }
    files = [
        File(f"{HOME}/bin/launch", 0o755, text_of(__package__, "launch.sh").encode()),
        File("usr/local/bin/imagefactory-selftest", 0o755, text_of(__package__, "selftest.py").encode()),
        File("etc/update-motd.d/50-imagefactory", 0o755, text_of(__package__, "motd.sh").encode()),
        File("etc/imagefactory/welcome", 0o644, fill(__package__, "welcome.j2", values).encode()),
    ]
    more = (*volume_files(), *gpu_files(spec.image), *desktop_files(spec))
    return (*files, *more, *_tests(spec))


def machine_links(spec: ImageSpec) -> dict[str, str]:
    """Symbolic links of the machine that follow from the specification, with where they lead. Pure."""
    return {**VOLUME_LINKS, **(GPU_LINKS if spec.image.needs.gpu else {})}


def _begin(spec: ImageSpec) -> list[str]:
    """Three commands to begin with."""
    names = spec.image.named_commands
    first = names[0] if names else f"{spec.image.repository}-exec bash"
    return [
        f"{first:<28} the application, on files of this folder",
        "imagefactory-selftest        its own tests, on this machine",
        f"{spec.image.repository + '-exec bash':<28} a shell where it is installed",
    ]


def _tests(spec: ImageSpec) -> Iterable[File]:
    image = spec.image
    usable = [test for test in image.tests if not (test.full or test.data or spec.lock.stand_ins)]
    told = {
        "launcher": f"/usr/local/bin/{image.repository}-exec",
        "tests": [
            {
                "name": test.name,
                "command": list(test.command),
                "status": test.status,
                "output": list(test.output),
                "measures": {name: measure.model_dump() for name, measure in test.measures.items()},
                "files": list(test.files),
                "time_limit": test.time_limit,
            }
            for test in usable
        ],
        "left_out": [test.name for test in image.tests if test not in usable],
    }
    yield File(f"{TESTS}/tests.json", 0o644, _json(told))
    yield from (File(f"tests/{file.path}", file.mode | 0o444, file.data) for file in image.folder.tests)


def release_file(spec: ImageSpec, needs: Mapping[str, Report]) -> File:
    """``/etc/imagefactory/release.json``: what is in the image, by its digests."""
    image = spec.image
    told = {
        "recipe": image.recipe,
        "image": image.id,
        "title": image.title,
        "version": image.version,
        "licence": image.licence,
        "homepage": image.homepage,
        "revision": image.folder.revision,
        "date": datetime.fromtimestamp(spec.epoch, UTC).strftime("%Y-%m-%d"),
        "epoch": spec.epoch,
        "commands": list(needs["oci"].commands),
        "stand_ins": list(spec.lock.stand_ins),
        "made_of": {
            kind: {
                "id": report.id,
                "digest": report.digest,
                "input_digest": report.input_digest,
                **({"reference": report.reference} if report.reference else {}),
            }
            for kind, report in sorted(needs.items())
        },
    }
    return File(_RELEASE, 0o644, _json(told))


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()
