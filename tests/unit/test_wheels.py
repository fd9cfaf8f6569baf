"""Which file of a Python package fits, what it is built with, and what uv's answers mean."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import re
import tarfile
import tomllib
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from imagefactory.errors import BuildFailed, Unsolvable
from imagefactory.inputs.index import index_of
from imagefactory.inputs.index_route import IndexRoute, SeenFile, as_seen
from imagefactory.inputs.uv import Found, Request, _failure, _files_in, _preferences, _project
from imagefactory.inputs.wheels import DEFAULT_BACKEND, Interpreter, build_requires
from imagefactory.model.recipe import PipIndex
from imagefactory.model.settings import SiteFile
from imagefactory.system.site import Site
from tests.unit.samples import PIP

DEBIAN_12 = Interpreter((3, 11), (2, 36), "x86_64")
HERE, WHAT = "manylinux_2_17_x86_64.manylinux2014_x86_64", "recipes/app: app: Python packages"
BEGINNING = 'lock-version = "1.0"\ncreated-by = "uv"\n'


@pytest.mark.parametrize(
    ("names", "best"),
    [
        (["a-1-py3-none-any.whl"], "a-1-py3-none-any.whl"),
        (["a-1-py2.py3-none-any.whl"], "a-1-py2.py3-none-any.whl"),
        (["a-1-py3-none-any.whl", f"a-1-cp311-cp311-{HERE}.whl"], f"a-1-cp311-cp311-{HERE}.whl"),
        (["a-1-cp310-cp310-linux_x86_64.whl", f"a-1-cp39-abi3-{HERE}.whl"], f"a-1-cp39-abi3-{HERE}.whl"),
        # The newest glibc that this one still is.
        (
            [f"a-1-cp311-cp311-manylinux_2_{minor}_x86_64.whl" for minor in (17, 28, 36, 38)],
            "a-1-cp311-cp311-manylinux_2_36_x86_64.whl",
        ),
        (["a-1-cp311-cp311-manylinux1_x86_64.whl"], "a-1-cp311-cp311-manylinux1_x86_64.whl"),
        (["a-1-cp311-cp311-manylinux2010_x86_64.whl"], "a-1-cp311-cp311-manylinux2010_x86_64.whl"),
        (["a-1-cp311-cp311-linux_x86_64.whl"], "a-1-cp311-cp311-linux_x86_64.whl"),
        # A build number counts as one, and is better than none.
        (["a-1-9-py3-none-any.whl", "a-1-10-py3-none-any.whl"], "a-1-10-py3-none-any.whl"),
        (["a-1-1-py3-none-any.whl", "a-1-py3-none-any.whl"], "a-1-1-py3-none-any.whl"),
        # None of these is for this Python on this system.
        (
            [
                *("a-1-cp312-cp312-linux_x86_64.whl", "a-1-cp312-abi3-manylinux_2_17_x86_64.whl"),
                *("a-1-cp311-cp311-manylinux_2_37_x86_64.whl", "a-1-cp311-cp311-manylinux_2_17_aarch64.whl"),
                *("a-1-cp311-cp311-musllinux_1_1_x86_64.whl", "a-1-cp311-cp311-macosx_11_0_arm64.whl"),
                *(
                    "a-1-cp311-cp311-win_amd64.whl",
                    "a-1-cp311-cp311t-linux_x86_64.whl",
                    "a-1-py2-none-any.whl",
                ),
                "a-1-pp311-pypy311_pp73-manylinux_2_17_x86_64.whl",
            ],
            None,
        ),
    ],
)
def test_the_wheel_that_fits_best(names: list[str], best: str | None) -> None:
    for order in (names, names[::-1]):
        text = entry(*order)
        if best is None:
            with pytest.raises(BuildFailed, match=r"a 1 has no file for Python 3\.11 on x86_64"):
                read(text)
            continue
        (chosen,) = read(text)
        assert chosen.filename == best


def test_an_interpreter_is_what_uv_calls_it() -> None:
    assert DEBIAN_12.uv_platform == "x86_64-manylinux_2_36"
    assert (
        Interpreter((3, 13), (2, 41), "aarch64").uv_platform == "aarch64-manylinux_2_40"
    )  # uv knows no newer one


PYPROJECT = '[build-system]\nrequires = ["hatchling>=1", "numpy"]\nbuild-backend = "hatchling.build"\n'


def sdist(folder: Path, kind: str, files: dict[str, str]) -> tuple[Path, str]:
    """A source distribution as the store holds it, without its name."""
    file = folder / "0123"
    if kind == "zip":
        with zipfile.ZipFile(file, "w") as archive:
            for name, text in files.items():
                archive.writestr(name, text)
        return file, "a-1.zip"
    with tarfile.open(file, f"w:{kind}") as archive:  # type: ignore[call-overload]
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return file, f"a-1.tar.{kind}"


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz", "zip"])
@pytest.mark.parametrize(
    ("text", "found"),
    [
        (PYPROJECT, ("hatchling>=1", "numpy")),
        ("[tool.x]\n", DEFAULT_BACKEND),
        ("[build-system]\nrequires = []\n", DEFAULT_BACKEND),
        ("build-system = 1\n", DEFAULT_BACKEND),
        ("[build-system]\nrequires = 'numpy'\n", DEFAULT_BACKEND),
        ("not toml", DEFAULT_BACKEND),
        (None, DEFAULT_BACKEND),
    ],
)
def test_what_a_source_distribution_is_built_with(
    tmp_path: Path, kind: str, text: str | None, found: tuple[str, ...]
) -> None:
    files = {"a-1/setup.py": "", "a-1/tests/pyproject.toml": PYPROJECT.replace("numpy", "wrong")}
    if text is not None:
        files["a-1/pyproject.toml"] = text
    assert build_requires(*sdist(tmp_path, kind, files)) == found


def test_what_is_no_archive_is_built_as_pip_would(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"not an archive")
    for name in ("a-1.tar.gz", "a-1.zip"):
        assert build_requires(tmp_path / "a", name) == DEFAULT_BACKEND


# uv's answers (PEP 751)

FILES = "https://files.example.org"
LOCK = f"""\
lock-version = "1.0"
created-by = "uv"
[[packages]]
name = "numpy"
version = "2.1.0"
sdist = {{ url = "{FILES}/ab/numpy-2.1.0.tar.gz", size = 99, hashes = {{ sha256 = "SDIST" }} }}
[[packages.wheels]]
url = "{FILES}/cd/numpy-2.1.0-cp312-cp312-manylinux_2_17_x86_64.whl"
size = 1
hashes = {{ sha256 = "W1" }}
[[packages.wheels]]
url = "{FILES}/ef/numpy-2.1.0-cp311-cp311-manylinux_2_17_x86_64.whl#x"
size = 7
hashes = {{ sha256 = "W2" }}
[[packages]]
name = "old-thing"
version = "0.1"
sdist = {{ name = "old_thing-0.1.zip", url = "{FILES}/x", hashes = {{ sha256 = "OLD" }} }}
[[packages.wheels]]
name = "old_thing-0.1-py2-none-any.whl"
url = "{FILES}/y"
hashes = {{ sha256 = "NO" }}
[[packages]]
name = "torch"
version = "2.4.0+cu124"
[[packages.wheels]]
url = "{FILES}/torch-2.4.0%2Bcu124-cp311-cp311-linux_x86_64.whl"
hashes = {{ sha256 = "TORCH" }}
"""


SIZES = {"numpy-2.1.0-cp311-cp311-manylinux_2_17_x86_64.whl": 7}


def digest_of(filename: str) -> str:
    """The sha256 that the index gives of a file, whatever uv's answer says."""
    return hashlib.sha256(filename.encode()).hexdigest()


def seen_file(filename: str, digests: dict[str, str]) -> SeenFile:
    said: Any = SimpleNamespace(
        filename=filename, url="", digests=digests, size=SIZES.get(filename), has_metadata=None
    )
    return as_seen(said, "https://index.example.org/")


def index(text: str, **more: Any) -> IndexRoute:
    """An index that was asked for all files of an answer."""
    names = re.findall(r'name = "([^"/]*)"\n', text)
    files = [part.rpartition("/")[2].replace("%2B", "+") for part in re.findall(r'"([^" ]*)"', text)]
    seen: Any = {
        name: {
            file: seen_file(file, {"sha256": digest_of(file), **more})
            for file in (part.partition("#")[0] for part in files)
        }
        for name in names
    }
    return IndexRoute("https://index.example.org", WHAT, means(), seen)


def read(text: str, **more: Any) -> list[Found]:
    request = Request((), DEBIAN_12, indexes=PIP.indexes)
    route = index(text, **more)
    return _files_in(as_answer(text), {"": route, "wheels": route}, request, WHAT)


def as_answer(text: str) -> bytes:
    """A lock file of uv's as it comes out of the sandbox."""
    return json.dumps(tomllib.loads(text), default=str).encode()


def test_uv_s_answer_gives_one_file_for_each_package() -> None:
    assert read(LOCK) == [
        Found(name, version, file, digest_of(file), size, home)
        for name, version, file, size, home in (
            ("numpy", "2.1.0", "numpy-2.1.0-cp311-cp311-manylinux_2_17_x86_64.whl", 7, ""),
            ("old-thing", "0.1", "old_thing-0.1.zip", 0, ""),
            ("torch", "2.4.0+cu124", "torch-2.4.0+cu124-cp311-cp311-linux_x86_64.whl", 0, "wheels"),
        )
    ]
    assert read(f"{BEGINNING}packages = []\n") == []


def test_an_answer_that_is_none_is_told() -> None:
    deep = b'{"packages": ' + b"[" * 90_000 + b"]" * 90_000 + b"}"
    for data in (b"{}", b"no JSON", b"\0", b"\xff\xfe", b"[]", b'{"packages": 1}', b"1" * 9000, deep):
        with pytest.raises(BuildFailed, match=f"{WHAT}: uv's answer cannot be read"):
            _files_in(data, {"": index("")}, Request((), DEBIAN_12), WHAT)


def test_what_the_index_does_not_have_is_refused() -> None:
    """What is built in the sandbox may write uv's answer; it cannot write the index."""
    route, request = index(LOCK), Request((), DEBIAN_12, indexes=PIP.indexes)
    for old, new in (
        ("cp311-manylinux_2_17", "cp311-manylinux_2_18"),
        ("old_thing-0.1.zip", "old_thing-0.1.tar.gz"),
    ):
        with pytest.raises(BuildFailed, match="is no file that its index has"):
            _files_in(as_answer(LOCK.replace(old, new)), {"": route, "wheels": route}, request, WHAT)
    with pytest.raises(BuildFailed, match=r"the index gives no sha256 of numpy-2\.1\.0-cp311"):
        read(LOCK, sha256="../../etc/shadow")


@pytest.mark.parametrize(
    ("packages", "constraints", "said"),
    [
        (("numpy>=2.2",), (), "numpy>=2.2, and it has 2.1.0"),
        (("Numpy",), ("numpy<2",), "numpy<2, and it has 2.1.0"),
        (("scipy",), (), "scipy, and it has none"),
        (("numpy<3,>=2", "Old_Thing", "torch==2.4.0"), ("scipy<1",), ""),
        (("numpy>=9; python_version < '3'", "numpy>=2"), (), ""),
    ],
)
def test_uv_s_answer_is_what_was_asked_for(
    packages: tuple[str, ...], constraints: tuple[str, ...], said: str
) -> None:
    """A package that is built to be asked may write it: an older version than was asked for, or none."""
    route, request = index(LOCK), Request(packages, DEBIAN_12, constraints, indexes=PIP.indexes)
    ask = functools.partial(_files_in, as_answer(LOCK), {"": route, "wheels": route}, request, WHAT)
    if not said:
        assert len(ask()) == 3
        return
    with pytest.raises(BuildFailed, match=f"uv's answer is not what was asked for: {re.escape(said)}"):
        ask()


OLD_SOURCE = f'sdist = {{ url = "{FILES}/a-1.tar.bz2", hashes = {{ sha256 = "0" }} }}\n'
"""Of no name that packaging can read."""


def entry(*names: str) -> str:
    wheels = ", ".join(f'{{ url = "{FILES}/{name}", hashes = {{ sha256 = "0" }} }}' for name in names)
    return f'{BEGINNING}[[packages]]\nname = "a"\nversion = "1"\nwheels = [{wheels}]\n'


def test_a_file_of_an_old_name_does_not_stand_in_the_way_of_another() -> None:
    (chosen,) = read(entry("a-1-py3-none-any.whl") + OLD_SOURCE)
    assert chosen.filename == "a-1-py3-none-any.whl"
    text = entry("a__-1-py3-none-any.whl") + OLD_SOURCE.replace("tar.bz2", "tar.gz")
    assert [file.filename for file in read(text)] == ["a-1.tar.gz"]


def test_a_package_with_files_of_old_names_alone_is_told() -> None:
    with pytest.raises(
        BuildFailed, match=r"cannot be read: Invalid sdist filename 'a-1\.tar\.bz2'"
    ) as caught:
        read(entry() + OLD_SOURCE)
    assert caught.value.hint is not None
    assert "ask for another version" in caught.value.hint
    with pytest.raises(BuildFailed, match=r"a 1 has no file for Python 3\.11 on x86_64"):
        read(entry("a-1-cp312-cp312-linux_x86_64.whl") + OLD_SOURCE)


@pytest.mark.parametrize("marker", ["platform_release == ''", "python_full_version < '3.11.1'"])
def test_markers_are_not_asked_of_this_machine(marker: str) -> None:
    """uv keeps in its answer what it looked at for the image."""
    text = entry("a-1-py3-none-any.whl") + f'marker = "{marker}"\n'
    text = text.replace("[[packages]]", 'requires-python = ">=3.99"\n[[packages]]')
    assert [file.name for file in read(text)] == ["a"]


def test_a_package_that_fits_nowhere_is_named() -> None:
    with pytest.raises(BuildFailed) as caught:
        read(LOCK.replace("cp311-cp311-linux", "cp312-cp312-linux"))
    assert caught.value.message == f"{WHAT}: torch 2.4.0+cu124 has no file for Python 3.11 on x86_64"
    assert caught.value.hint == "ask for another version under 'constraints'"


@pytest.mark.parametrize("name", ["torch", "Torch", "TORCH"])
def test_the_index_of_a_package_goes_by_its_plain_name(name: str) -> None:
    indexes = {"wheels": PipIndex(url="https://a.example.org", packages=("torch", "My_Thing.x"))}
    assert index_of(name, indexes) == "wheels"
    assert index_of("my-thing-x", indexes) == "wheels"
    assert index_of("numpy", indexes) == ""


def means(**settings: Any) -> Any:
    return SimpleNamespace(
        site=Site(SiteFile.model_validate(settings)), log=SimpleNamespace(path=Path("lock.log"))
    )


def test_uv_is_told_which_package_comes_from_which_index() -> None:
    indexes = {"wheels": PipIndex(url="https://wheels.example.org/simple/", packages=("torch", "triton"))}
    request = Request(("numpy>=1.26", 'Torch[cuda]==2.4; python_version >= "3"'), DEBIAN_12, indexes=indexes)
    found = tomllib.loads(_project(request, {"": "http://127.0.0.1/0", "wheels": "http://127.0.0.1/1"}))
    assert found["project"]["requires-python"] == ">=3.11"
    # uv takes an index only for what is asked for by name.
    assert found["project"]["dependencies"] == [*request.packages, "triton"]
    assert found["tool"]["uv"]["sources"] == {"torch": {"index": "wheels"}, "triton": {"index": "wheels"}}
    assert found["tool"]["uv"]["index"] == [
        {"name": "wheels", "url": "http://127.0.0.1/1", "explicit": True},
    ]


def test_uv_is_told_the_versions_that_we_have() -> None:
    found = tomllib.loads(_preferences({"old-thing": "0.1", "numpy": "2.1.0"}))
    assert [(each["name"], each["version"]) for each in found["packages"]] == [
        *(("numpy", "2.1.0"), ("old-thing", "0.1")),
    ]


def test_why_uv_failed() -> None:
    said = ("  x No solution found when resolving dependencies:", "  because numpy<2 and numpy>=2")
    error = _failure(said, WHAT, means())
    assert type(error) is Unsolvable
    assert error.message.startswith(f"{WHAT}: ")
    assert error.tail == said
    assert error.hint
