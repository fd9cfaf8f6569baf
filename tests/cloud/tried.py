"""What is tried in the cloud: an image that the factory built, and what it is made of."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from imagefactory.publish.properties import ProjectImage, Promises, properties_of, tags_of

COMMAND = str(Path(sys.executable).with_name("imagefactory"))


@dataclass(frozen=True)
class Tried:
    """``root`` is its checkout, ``disk`` its file, ``base`` that of its VM base, which is called
    ``base_name``. ``template`` is the folder of Packer's template, ``payload`` what goes into it.
    """

    root: Path
    name: str
    disk: Path
    base: Path
    base_name: str
    template: Path
    payload: Path

    def as_json(self) -> str:
        return json.dumps({key: str(value) for key, value in asdict(self).items()})

    @staticmethod
    def from_json(text: str) -> Tried:
        told: dict[str, str] = json.loads(text)
        paths = {key: Path(told[key]) for key in ("root", "disk", "base", "template", "payload")}
        return Tried(name=told["name"], base_name=told["base_name"], **paths)

    def report(self, kind: str) -> dict[str, Any]:
        """What the factory noted of it."""
        return _report(self.root, self.name, kind)

    def project_image(self) -> ProjectImage:
        """It, as a cloud is told of it."""
        machine, container = self.report("vm"), self.report("oci")
        system, _, release = self.base_name.removesuffix("-vm").partition("-")
        info = subprocess.run(
            ["qemu-img", "info", "--output=json", str(self.disk)], capture_output=True, check=True
        )
        return ProjectImage(
            recipe=self.name,
            title=machine["title"],
            version=machine["version"],
            input_digest=f"sha256:{machine['input_digest']}",
            container_digest=container["digest"],
            architecture="amd64",
            distribution=system,
            release=release,
            user="debian",
            min_disk=-(-json.loads(info.stdout)["virtual-size"] >> 30),
            min_ram=1024,
            built=machine["built"],
            promises=Promises("never"),
            guest_agent=True,
        )

    def about(self) -> tuple[dict[str, str | int], tuple[str, ...]]:
        """Its properties and tags."""
        image = self.project_image()
        return properties_of(image), tags_of(image)

    def about_base(self) -> tuple[dict[str, str | int], tuple[str, ...]]:
        """The properties and tags of its VM base."""
        properties, tags = self.about()
        return {k: v for k, v in properties.items() if not k.startswith("imagefactory_")}, tags


def build(root: Path, name: str, work: Path) -> Tried:
    """Have an image built, with all that is made of it elsewhere. Raises SystemExit where that fails."""
    _factory(root, "build", name, "--format", "vm")
    payload = work / "payload.tar"
    _factory(root, "render", name, "--to", str(work / "rendered"), "--payload", str(payload))
    report = _report(root, name, "vm")
    (base,) = [need["id"] for need in report["needs"] if need["kind"] == "vmbase"]
    folder = root / "build"
    return Tried(
        root=root,
        name=name,
        disk=folder / name / report["file"],
        base=folder / base / _report(root, base, "vmbase")["file"],
        base_name=base,
        template=work / "rendered" / name / "vm",
        payload=payload,
    )


def _report(root: Path, name: str, kind: str) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((root / "build" / name / kind / "report.json").read_text())
    return report


def _factory(root: Path, *words: str) -> None:
    status = subprocess.run([COMMAND, "--root", str(root), *words]).returncode
    if status:
        raise SystemExit(status)
