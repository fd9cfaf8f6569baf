"""What neurocontainers says about an application: its names, licence, page and readme."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from imagefactory.importing.fits import fits, one_line
from imagefactory.importing.readers.beside import Unavailable, read_beside
from imagefactory.importing.readers.filling import Filler
from imagefactory.importing.steps import Described, GuiProgram
from imagefactory.model.fields import Url
from imagefactory.system.templates import Unfillable
from imagefactory.yamlfiles import Text

_ADDRESS = re.compile(r"https?://[^\s)>\]\"'`]+")
_RAW = re.compile(r"\{%-?\s*(end)?raw\s*-?%\}")


class Metadata:
    """Reads it, with templates filled in for one kind of machine."""

    def __init__(self, text: Text, folder: Path, filler: Filler) -> None:
        self.text = text
        self.folder = folder
        self.filler = filler
        self.data: dict[str, Any] = text.document.data
        self.left: dict[str, str] = {}

    def described(
        self, machines: tuple[Literal["amd64", "arm64"], ...], values: Mapping[str, str]
    ) -> Described:
        """All but its steps."""
        about = self.data.get("structured_readme")
        about = about if isinstance(about, dict) else {}
        readme = self._readme(about)
        licences, addresses = self._licences()
        citation = self._fill(about.get("citation"))
        return Described(
            format="neurocontainers",
            file=Path(self.text.path).name,
            name=self._fill(self.data.get("name")) or self.folder.name,
            version=str(self.filler.context.get("version") or ""),
            summary=one_line(
                self._fill(about.get("description")) or self._fill(self.data.get("description"))
            ),
            homepage=self._homepage(about, readme, addresses),
            licences=licences,
            licence_urls=addresses,
            citation=tuple(_citations(citation)),
            topics=tuple(t for t in map(self._fill, _list(self.data.get("categories"))) if t),
            readme=readme,
            icon=self._icon(),
            gui=tuple(self._programs()),
            values=values,
            machines=machines,
        )

    def _fill(self, value: Any) -> str:
        try:
            return self.filler.fill(value, {})
        except Unfillable:
            return _RAW.sub("", value) if isinstance(value, str) else ""

    def _of_readme(self, key: str, value: Any) -> str:
        text, why = self.filler.fill_in_part(value)
        if why:
            self.left.setdefault(key, why)
        return text.strip()

    def _readme(self, about: dict[str, Any]) -> str:
        if text := self._of_readme("readme", self.data.get("readme")):
            return text
        if about:
            titles = {"example": "Example", "documentation": "Documentation", "citation": "Citation"}
            parts = [self._of_readme("structured_readme", about.get("description"))]
            for key, title in titles.items():
                if said := self._of_readme("structured_readme", about.get(key)):
                    parts.append(f"## {title}\n\n{said if key == 'documentation' else _fenced(said)}")
            return "\n\n".join(part for part in parts if part)
        if address := self._fill(self.data.get("readme_url")):
            return f"Its readme is at {address}"
        try:
            return read_beside(self.folder, "README.md")[0].decode("utf-8", "replace").strip()
        except Unavailable:
            return ""

    def _homepage(self, about: dict[str, Any], readme: str, licences: tuple[str, ...]) -> str:
        said = self._fill(about.get("documentation"))
        more = re.search(r"(?i)documentation[^\n]*?:\s*(https?://\S+)", readme)
        found = [*_ADDRESS.findall(said), *([more[1]] if more else [])]
        found += [match for url in licences if (match := _repository(url))]
        return next((url for each in found if fits(Url, url := each.rstrip(".,;"))), "")

    def _licences(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        names, addresses = list[str](), list[str]()
        for each in _list(self.data.get("copyright")):
            if isinstance(each, dict):
                names.append(self._fill(each.get("license")) or self._fill(each.get("name")))
                addresses.append(self._fill(each.get("url")))
        return tuple(filter(None, names)), tuple(filter(None, addresses))

    def _icon(self) -> bytes:
        said = self.data.get("icon")
        if not isinstance(said, str):
            return b""
        try:
            return base64.b64decode("".join(said.rpartition(",")[2].split()), validate=True)
        except (binascii.Error, ValueError):
            return b""

    def _programs(self) -> Iterator[GuiProgram]:
        for each in _list(self.data.get("gui_apps")):
            if isinstance(each, dict):
                command = self._fill(each.get("exec"))
                yield GuiProgram(name=one_line(self._fill(each.get("name")) or command), command=command)


def _repository(url: str) -> str:
    found = re.match(r"https://(?:github|gitlab)\.com/[\w.-]+/[\w.-]+", url)
    return found[0] if found else ""


def _fenced(text: str) -> str:
    return f"```\n{text}\n```"


def _citations(text: str) -> Iterator[str]:
    """One for each entry of BibTeX, or for each paragraph."""
    entries = re.split(r"\n(?=\s*@\w+\{)", text) if "@" in text else re.split(r"\n\s*\n", text)
    for entry in entries:
        if line := one_line(entry):
            yield line


def _list(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else () if value is None else (value,)
