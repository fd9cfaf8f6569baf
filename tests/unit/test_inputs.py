"""Packages: what their own tools say of them, where they are put, and what installs them."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from imagefactory.errors import BuildFailed, EngineError, Gone, NetworkFault, Unsolvable
from imagefactory.inputs import debian
from imagefactory.inputs.debian import archives, parse_uris, relayed
from imagefactory.inputs.kinds import KINDS
from imagefactory.inputs.protocol import Origin, Staged, Wanted
from imagefactory.model.lock import Lock, StageLock
from imagefactory.model.recipe import Inputs, Release
from imagefactory.model.settings import SiteFile
from imagefactory.model.spec import ImageDefinition
from imagefactory.sandbox import ADDRESS, Relay
from imagefactory.system.site import Site
from imagefactory.system.store import Store
from tests.unit.samples import (
    CONDA,
    PIP,
    REPOSITORY,
    STAGE,
    apt_file,
    base_lock,
    conda_file,
    definition,
    image,
    lock,
    pip_file,
    source_file,
)

SOURCES = (
    "deb http://archive.example.org/debian bookworm main",
    "deb http://archive.example.org/debian bookworm-updates main",
    "deb http://safe.example.org/debian-security bookworm-security main",
)
BOOKWORM = Release("debian", "bookworm")
SHA = "a" * 64


@pytest.fixture(autouse=True)
def _archives(monkeypatch: pytest.MonkeyPatch) -> None:
    """What mmdebstrap would say, which is a process."""
    for module in ("debian", "apt_lock"):
        monkeypatch.setattr(f"imagefactory.inputs.{module}.default_sources", lambda release: SOURCES)


def site(**settings: Any) -> Site:
    return Site(SiteFile.model_validate(settings))


PLACES = {f"{ADDRESS}/0/": ("debian", False), f"{ADDRESS}/1/": ("debian-security", True)}


def uri(path: str, name: str, archive: str = f"{ADDRESS}/0") -> str:
    return f"'{archive}/{path}' {name} 123 SHA256:{SHA}\n"


# Debian


def test_archives_are_called_by_the_end_of_their_address() -> None:
    assert archives(SOURCES) == {
        "debian": "http://archive.example.org/debian",
        "debian-security": "http://safe.example.org/debian-security",
    }
    assert archives(["deb [trusted=yes] https://m.example.org/x/debian/ bookworm main"]) == {
        "debian": "https://m.example.org/x/debian"
    }


@pytest.mark.parametrize(
    ("path", "deb", "name", "version", "file"),
    [
        (
            "pool/h/hello_2.10-3_amd64.deb",
            "hello_2.10-3_amd64.deb",
            "hello",
            "2.10-3",
            "pool/h/hello_2.10-3_amd64.deb",
        ),
        ("pool/v/vim_9.0_amd64.deb", "vim_2%3a9.0_amd64.deb", "vim", "2:9.0", "pool/v/vim_9.0_amd64.deb"),
        (
            "pool/g/libstdc%2b%2b6_12.2.0-14%2bdeb12u1_amd64.deb",
            "libstdc++6_12.2.0-14+deb12u1_amd64.deb",
            *("libstdc++6", "12.2.0-14+deb12u1", "pool/g/libstdc++6_12.2.0-14+deb12u1_amd64.deb"),
        ),
        (
            "pool/o/openssl_3.0.17-1~deb12u2_amd64.deb",
            "openssl_3.0.17-1~deb12u2_amd64.deb",
            *("openssl", "3.0.17-1~deb12u2", "pool/o/openssl_3.0.17-1~deb12u2_amd64.deb"),
        ),
        (
            "pool/p/python3.11_1_all.deb",
            "python3.11_1_all.deb",
            "python3.11",
            "1",
            "pool/p/python3.11_1_all.deb",
        ),
    ],
)
def test_what_apt_lists_is_read(path: str, deb: str, name: str, version: str, file: str) -> None:
    (found,) = parse_uris(uri(path, deb), PLACES)
    assert (found.name, found.version, found.file, found.archive) == (name, version, file, "debian")
    assert (found.bytes, found.sha256, found.stand_in) == (123, SHA, False)


def test_each_archive_is_told_from_the_other() -> None:
    text = (
        "Reading package lists...\nNeed to get 2 kB of archives.\n"
        + uri("pool/a_1_all.deb", "a_1_all.deb")
        + uri("pool/b_1_all.deb", "b_1_all.deb", f"{ADDRESS}/1")
    )
    found = list(parse_uris(text, PLACES))
    assert [(file.name, file.archive, file.file) for file in found] == [
        *(("a", "debian", "pool/a_1_all.deb"), ("b", "debian-security", "pool/b_1_all.deb")),
    ]


def test_a_stand_in_for_an_archive_marks_its_packages() -> None:
    (found,) = parse_uris(uri("pool/a_1_all.deb", "a_1_all.deb", f"{ADDRESS}/1"), PLACES)
    assert (found.archive, found.stand_in) == ("debian-security", True)


@pytest.mark.parametrize("place", [f"{ADDRESS}/2", f"{ADDRESS}/00", "http://archive.example.org/debian"])
def test_a_package_from_elsewhere_is_refused(place: str) -> None:
    with pytest.raises(
        BuildFailed, match=r"apt would take a from .*, which is none of the base image's archives"
    ):
        list(parse_uris(uri("pool/a_1_all.deb", "a_1_all.deb", place), PLACES))


@pytest.mark.parametrize(
    ("path", "deb"),
    [
        ("../../etc/shadow", "a_1_all.deb"),
        ("pool/%2e%2e/a_1_all.deb", "a_1_all.deb"),
        ("pool/a%0a_1_all.deb", "a_1_all.deb"),
        ("pool/a_1_all.deb", "a\x1b[2J_1_all.deb"),
        ("pool/a_1_all.deb", "a_1%0a_all.deb"),
    ],
)
def test_a_file_that_no_archive_can_have_is_refused(path: str, deb: str) -> None:
    """What writes apt's answer runs in a sandbox with what comes from outside."""
    with pytest.raises(BuildFailed, match="apt names a file that no archive can have"):
        list(parse_uris(uri(path, deb), PLACES))


def test_a_sandbox_sees_archives_at_addresses_of_its_own() -> None:
    ours = site(
        mirrors={"http://archive.example.org": "https://me:hunter2@mirror.example.net"},
        stand_ins={"http://safe.example.org": {"url": "file:///srv/fake"}},
    )
    means: Any = SimpleNamespace(site=ours, web=None)
    found = relayed(BOOKWORM, "app", means)
    assert found.lines == (
        f"deb {ADDRESS}/0 bookworm main",
        f"deb {ADDRESS}/0 bookworm-updates main",
        f"deb [trusted=yes] {ADDRESS}/1 bookworm-security main",
    )
    assert found.places == {
        f"{ADDRESS}/0/": ("debian", False),
        f"{ADDRESS}/1/": ("debian-security", True),
    }
    mirror, folder = (found.relay.find(f"/{number}/x") for number in (0, 1))
    assert mirror
    assert folder
    assert getattr(mirror[0], "address", "") == "https://me:hunter2@mirror.example.net/debian"
    assert getattr(folder[0], "folder", "") == Path("/srv/fake/debian-security")


NOBLE = Release("ubuntu", "noble")


def test_two_archives_of_one_name_are_one_place() -> None:
    keys = '[signed-by="/usr/share/keyrings/some.gpg"] '
    listed = (
        f"deb {keys}http://archive.example.org/ubuntu noble main universe\n"
        f"deb {keys}http://archive.example.org/ubuntu noble-updates main universe\n"
        f"deb {keys}http://safe.example.org/ubuntu/ noble-security main universe\n"
    )
    sources = debian.read_sources(listed, NOBLE)
    assert sources == tuple(
        f"deb http://archive.example.org/ubuntu {suite} main universe"
        for suite in ("noble", "noble-updates", "noble-security")
    )
    assert debian.read_sources(listed.replace(keys, ""), NOBLE) == sources
    with pytest.raises(EngineError, match="does not know noble as a suite of debian"):
        debian.read_sources(listed, Release("debian", "noble"))


@pytest.mark.parametrize(("here", "needed"), [("ubuntu", False), ("debian", True), ("", True)])
def test_another_distribution_s_keys_must_be_here(
    here: str, needed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = definition(name="ubuntu-24.04", distribution="ubuntu", suite="noble").base
    keyring, trusted = tmp_path / "keys.gpg", tmp_path / "trusted.gpg.d"
    vendor = dataclasses.replace(debian.VENDORS["ubuntu"], keyring=str(keyring))
    monkeypatch.setattr(debian, "VENDORS", {"ubuntu": vendor})
    monkeypatch.setattr(debian, "_APT_TRUSTS", (str(tmp_path / "trusted.gpg"), str(trusted)))
    monkeypatch.setattr("platform.freedesktop_os_release", lambda: {"ID": here} if here else {})
    if needed:
        with pytest.raises(EngineError) as caught:
            debian.keyrings(base)
        assert str(keyring) in caught.value.message
        assert caught.value.hint == "run ci/setup, or install the package ubuntu-keyring"
    else:
        assert debian.keyrings(base) == ({}, [])
    trusted.mkdir()
    keyring.touch()
    inputs = {"keys-0": trusted, "keys-1": keyring}
    assert debian.keyrings(base) == (inputs, ["--keyring=/in/keys-0", "--keyring=/in/keys-1"])


class Base:
    """Stands in for the base image: remembers the question, and answers what the test says."""

    def __init__(self, **answer: str) -> None:
        self.answer = answer
        self.files: Mapping[str, bytes] = {}
        self.error: BuildFailed | None = None

    def ask(self, files: Mapping[str, bytes], relay: Relay) -> Mapping[str, bytes]:
        self.files = files
        if self.error:
            raise self.error
        return {stage: self.answer.get(stage, "").encode() for stage in ("image", "build", "tools")}

    @property
    def requests(self) -> list[str]:
        """What is asked for, for each stage."""
        return re.findall(r"^ask (.*)$", self.files["ask.sh"].decode(), re.MULTILINE)


def ask(of: ImageDefinition, base: Base, ours: Site | None = None, old: Lock | None = None) -> Any:
    wanted = Wanted(of, definition(), base_lock(), old, base.ask, {})
    means: Any = SimpleNamespace(site=ours or site(), web=None, log=SimpleNamespace(step=lambda name: None))
    return KINDS["apt"].lock(wanted, means)


def test_apt_is_asked_stage_by_stage() -> None:
    base = Base(
        image=uri("pool/a_1_all.deb", "a_1_all.deb"),
        build=uri("pool/a_1_all.deb", "a_1_all.deb")
        + uri("pool/gcc_1_all.deb", "gcc_1_all.deb").replace(SHA, "b" * 64),
        tools=uri("pool/a_1_all.deb", "a_1_all.deb")
        + uri("pool/python3_1_all.deb", "python3_1_all.deb").replace(SHA, "c" * 64),
    )
    found = ask(image(inputs=Inputs(apt=("hello", "bc"), conda=CONDA), build=STAGE), base)
    # Each on top of what the image has, which is there once.
    assert {stage: [file.name for file in files] for stage, files in found.items()} == {
        "image": ["a"],
        "build": ["gcc"],
        "tools": ["python3"],
    }
    ours, theirs, tools = base.requests
    assert ours == "image bc hello"
    assert theirs == "build $pins gcc make"
    assert tools.startswith("tools $pins ")
    assert "python3" in tools.split()


def test_a_python_package_needs_a_python() -> None:
    base = Base()
    ask(image(inputs=Inputs(apt=("hello",), pip=PIP)), base)
    assert base.requests[0] == "image hello python3"


def test_apt_is_not_asked_for_nothing() -> None:
    base = Base()
    assert ask(image(inputs=Inputs()), base) == {}
    assert base.files == {}


def test_apt_prefers_the_versions_of_the_last_lock() -> None:
    base = Base()
    ask(
        image(),
        base,
        old=lock(image={"apt": (apt_file("hello", "2.10-3"),)}, build={"apt": (apt_file("gcc", "4:1"),)}),
    )
    assert base.files["preferences"].decode() == (
        "Package: hello\nPin: version 2.10-3\nPin-Priority: 1001\n\n"
        "Package: gcc\nPin: version 4:1\nPin-Priority: 1001\n"
    )
    ask(image(), base)
    assert base.files["preferences"] == b""


def test_the_base_image_sees_nothing_of_the_site_s_settings(tmp_path: Path) -> None:
    base, bundle = Base(), tmp_path / "ca.pem"
    bundle.write_bytes(b"certificates")
    mirrors = {"http://archive.example.org": "https://me:hunter2@mirror.example.net"}
    ask(image(), base, Site(SiteFile.model_validate({"mirrors": mirrors}), ca_bundle=bundle))
    assert f"deb {ADDRESS}/0 bookworm main\n".encode() in base.files["sources.list"]
    assert b'Dir::Etc::sourcelist "/ask/sources.list";\n' in base.files["apt.conf"]
    told = b"".join(base.files.values())
    assert not [word for word in (b"hunter2", b"mirror.example.net", b"certificates") if word in told]


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (
            BuildFailed("x", tail=["E: Unable to locate package helo"]),
            *(Unsolvable, "recipes/app: app: Debian has no package called helo"),
        ),
        (
            BuildFailed("x", tail=["a : Depends: b but it is not going to be installed"]),
            *(Unsolvable, "recipes/app: app: apt cannot install these packages together"),
        ),
        (NetworkFault("the network"), NetworkFault, "the network"),
    ],
)
def test_why_apt_failed(error: BuildFailed, kind: type[BuildFailed], message: str) -> None:
    base = Base()
    base.error = error
    with pytest.raises(kind) as caught:
        ask(image(), base)
    assert (type(caught.value), caught.value.message) == (kind, message)


# Fetching


class Web:
    """Has nothing, and remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def download(self, url: str, *words: Any, named_by: str = "") -> None:
        self.asked.append(url)
        raise Gone("it is gone")


def fetch(
    kind: str, file: Any, tmp_path: Path, of: ImageDefinition | None, ours: Site | None = None
) -> tuple[str, list[str]]:
    """The hint of the failure, and where the file was looked for."""
    web = Web()
    stop = SimpleNamespace(wait=lambda seconds: None, check=lambda: None)
    means: Any = SimpleNamespace(
        site=ours or site(),
        store=Store(tmp_path),
        web=web,
        log=SimpleNamespace(line=lambda text: None),
        stop=stop,
        on_bytes=lambda count: None,
    )
    with pytest.raises(Gone) as caught:
        KINDS[kind].fetch(file, "it", Origin(definition(), of), means)
    return caught.value.hint, web.asked


def test_a_package_that_the_archive_dropped_says_what_to_do(tmp_path: Path) -> None:
    mirrors = {"http://archive.example.org": ["https://one.example.net", "https://two.example.net"]}
    ours = Site(SiteFile.model_validate({"mirrors": {k: tuple(v) for k, v in mirrors.items()}}))
    hint, asked = fetch("apt", apt_file(), tmp_path, image(), ours)
    assert asked == [
        f"https://{host}.example.net/debian/pool/main/h/hello/hello_2.10-3_amd64.deb"
        for host in ("one", "two")
    ]
    assert hint.startswith(
        "the archive has moved on: imagefactory lock --upgrade app takes what it has today"
    )
    assert "imagefactory lock --upgrade debian-12 " in fetch("apt", apt_file(), tmp_path, None)[0]


def test_a_package_that_the_channel_dropped_says_what_to_do(tmp_path: Path) -> None:
    hint, asked = fetch("conda", conda_file(channel="https://conda.example.org/lab"), tmp_path, image())
    assert asked == ["https://conda.example.org/lab/linux-64/fermitools-2.5.1-h0_1.conda"]
    assert hint == "the channel has moved on: imagefactory lock --upgrade app takes what it has today"


# Installing


@pytest.mark.parametrize(
    ("kind", "file", "staged"),
    [
        (
            "apt",
            apt_file("libstdc++6", "1~x+y"),
            Staged("apt/libstdc++6_1~x+y_amd64.deb", apt_file("libstdc++6", "1~x+y").sha256),
        ),
        ("pip", pip_file(), Staged("pip/numpy-2.1.0-py3-none-any.whl", pip_file().sha256)),
        (
            "conda",
            conda_file(),
            Staged("conda/conda-forge/linux-64/fermitools-2.5.1-h0_1.conda", conda_file().sha256),
        ),
        (
            "conda",
            conda_file(channel="https://conda.example.org/my lab"),
            Staged(
                "conda/https_conda.example.org_my_lab/linux-64/fermitools-2.5.1-h0_1.conda",
                conda_file().sha256,
            ),
        ),
        ("sources", source_file(), Staged("sources/app/app-1.0.tar.gz", "a" * 64)),
        (
            "sources",
            source_file("library", REPOSITORY),
            Staged("sources/library", source_file("library", REPOSITORY).sha256, unpack=True),
        ),
    ],
)
def test_where_a_file_stands(kind: str, file: Any, staged: Staged) -> None:
    assert KINDS[kind].stage(file) == staged


def test_nothing_is_installed_by_no_script() -> None:
    for kind in KINDS.values():
        assert kind.install((), image(), "image") == ""
    assert KINDS["sources"].install((source_file(),), image(), "image") == ""
    assert KINDS["pip"].install((pip_file("uv"),), image(), "tools") == ""


def test_packages_are_installed_from_files_alone() -> None:
    apt = KINDS["apt"].install((apt_file(),), image(), "build")
    assert apt.startswith("# Debian packages of the stage 'build', from files alone.\nset -eu\n")
    assert "--no-install-recommends --allow-downgrades /packages/apt/*.deb\n" in apt
    assert "chmod a-s" in apt
    pip = KINDS["pip"].install((pip_file(), pip_file("torch", "2.4.0+cu124")), image(), "image")
    assert "--no-index --no-deps --require-hashes" in pip
    assert f"\ntorch==2.4.0+cu124 --hash=sha256:{pip_file('torch', '2.4.0+cu124').sha256}\nEND\n" in pip
    conda = KINDS["conda"].install((conda_file(), conda_file("numpy", channel="a/b")), image(), "image")
    names = "conda-forge/linux-64/fermitools-2.5.1-h0_1.conda\na_b/linux-64/numpy-2.5.1-h0_1.conda"
    assert f"<<'END'\n{names}\nEND\n" in conda
    for script in (apt, pip, conda):
        assert script.splitlines()[1] == "set -eu"
        assert not re.search(r"\{\{|\}\}|https?:", script)


def test_kinds_are_resolved_in_the_order_in_which_they_need_each_other() -> None:
    assert list(KINDS) == ["apt", "conda", "pip", "sources", "blobs"]
    assert set(KINDS) == set(StageLock.model_fields)
