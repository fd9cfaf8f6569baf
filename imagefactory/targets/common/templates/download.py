"""Downloads the pinned inputs of an image that is built without imagefactory.

    download.py INPUTS IN_BASE TARGET

INPUTS is the JSON file beside this one, IN_BASE what ``dpkg-query --show`` said of the base image, and
TARGET the folder to fill. Every file is checked against its sha256. Python's standard library and pip
are all that it needs.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

ATTEMPTS = 3
STAGES = ("image", "build", "tools")
KINDS = ("apt", "pip", "conda")


def main(inputs: str, in_base: str, target: str) -> None:
    """Fill the target folder."""
    wanted = json.loads(Path(inputs).read_text())
    for stage in STAGES:
        for kind in KINDS:
            (Path(target) / stage / kind).mkdir(parents=True, exist_ok=True)
    installed = dict(line.split() for line in Path(in_base).read_text().splitlines())
    installed = {name.partition(":")[0]: version for name, version in installed.items()}
    archives = apt_archives() if "apt" in wanted else {}
    for file in wanted.get("apt", ()):
        if file.get("in_base") and file["version"] == installed.get(file["name"]):
            continue
        if file["archive"] not in archives:
            sys.exit(f"the base image's apt knows no archive called {file['archive']}")
        save(f"{archives[file['archive']]}/{urllib.parse.quote(file['file'])}", Path(target), file)
    for file in wanted.get("conda", ()):
        save(file["url"], Path(target), file)
    for file in wanted.get("pip", ()):
        pip_download(file, (Path(target) / file["path"]).parent)
    for source in wanted.get("sources", ()):
        if "git" in source:
            clone(source, Path(target) / source["path"])
        else:
            save_source(source, Path(target))


def apt_archives() -> dict[str, str]:
    """The addresses of apt's archives, by the last part of their path."""
    places = [Path("/etc/apt/sources.list"), *Path("/etc/apt/sources.list.d").glob("*")]
    text = "\n".join(place.read_text() for place in places if place.is_file())
    addresses = re.findall(r"https?://[^\s\]]+", re.sub(r"(?m)#.*$", "", text))
    return {address.rstrip("/").rpartition("/")[2]: address.rstrip("/") for address in addresses}


def save(url: str, target: Path, file: dict[str, Any]) -> None:
    """Download one file and check it; a server may fail twice."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310  # an address of the recipe
                data = answer.read()
            break
        except (urllib.error.URLError, OSError) as error:
            if attempt == ATTEMPTS:
                sys.exit(f"{url}: {error}")
            time.sleep(2 * attempt)
    found = hashlib.sha256(data).hexdigest()
    if found != file["sha256"]:
        sys.exit(f"{url}: expected sha256 {file['sha256']}, found {found}")
    path = target / file["path"]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def save_source(source: dict[str, Any], target: Path) -> None:
    """Download an archive from the first of its addresses that answers."""
    for number, url in enumerate(source["urls"], 1):
        name = urllib.parse.unquote(urllib.parse.urlparse(url).path).rpartition("/")[2]
        try:
            return save(url, target, {**source, "path": f"{source['path']}/{name}"})
        except SystemExit:
            if number == len(source["urls"]):
                raise
    return None


def clone(source: dict[str, Any], folder: Path) -> None:
    """The files of one commit."""
    folder.mkdir(parents=True)
    for words in (
        ["init"],
        ["fetch", "--depth=1", source["git"], source["commit"]],
        ["checkout", "FETCH_HEAD"],
    ):
        subprocess.run(["git", "-C", str(folder), *words, "--quiet"], check=True)
    shutil.rmtree(folder / ".git")


def pip_download(file: dict[str, Any], folder: Path) -> None:
    """Let pip find the file in its index; one by one, for the stages may hold one package in two versions."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as requirements:
        requirements.write(f"{file['name']}=={file['version']} --hash=sha256:{file['sha256']}\n")
        requirements.flush()
        words = ["download", "--no-deps", "--require-hashes", "--no-build-isolation", "--dest", str(folder)]
        words += ["--index-url", file["index"]] if "index" in file else []
        subprocess.run([sys.executable, "-m", "pip", *words, "-r", requirements.name], check=True)


main(*sys.argv[1:])
