"""Files that are no bundles, damaged ones and hostile ones: refused in words, and nothing of them stays."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import stat
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from imagefactory.definitions.recipes import load_images
from imagefactory.deliver import unbundle
from imagefactory.deliver.bundle import write_bundle
from imagefactory.deliver.unbundle import read_bundle
from imagefactory.errors import BadInput, BuildFailed, DiskFull
from imagefactory.model.target import Target, TargetId
from imagefactory.plan import Resolver
from imagefactory.system.history import Standing, standing
from imagefactory.system.records import record_of
from imagefactory.system.site import Site
from imagefactory.system.store import Store
from imagefactory.system.workspace import Workspace
from imagefactory.targets.register import Kinds
from tests.conftest import REPOSITORY
from tests.unit.samples import RECIPE, files_of_part, lock_all, report

Files = dict[str, bytes]
Read = Callable[[], list[str]]
# What the made-up locks name, by the text whose sha256 they have.
INPUTS = ["apt hello 2.10-3", "apt dash 0.5.12-2", "apt libc6 2.36-9+deb12u10", "apt python3 3.11.2-1"]
BASE = "build/debian-12/base/report.json"
LAYOUT = "build/debian-12/layout"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


HELLO = f"store/{sha256(INPUTS[0].encode())}"


def layout(layer: bytes = b"a layer", **changes: Any) -> tuple[Files, str, int]:
    """The files of an OCI layout by their names in it, its digest, and the bytes of its layers."""
    config = b'{"os": "linux"}'
    blobs = {sha256(data): data for data in (config, layer)}
    described = {
        "schemaVersion": 2,
        "config": {"digest": f"sha256:{sha256(config)}", "size": len(config)},
        "layers": [{"digest": f"sha256:{sha256(layer)}", "size": len(layer)}],
        **changes,
    }
    manifest = json.dumps(described).encode()
    blobs[sha256(manifest)] = manifest
    digest = f"sha256:{sha256(manifest)}"
    index = {"schemaVersion": 2, "manifests": [{"digest": digest, "size": len(manifest)}]}
    files = {f"blobs/sha256/{name}": data for name, data in blobs.items()}
    files |= {"index.json": json.dumps(index).encode(), "oci-layout": b'{"imageLayoutVersion": "1.0.0"}'}
    return files, digest, len(layer)


def put_base(root: Workspace, target: Target, files: Files, **changes: Any) -> None:
    """Have a base image be there, as its maker leaves it, with a blob of the one before."""
    record = record_of(root, target.id)
    folder = record.shelf / "layout"
    (folder / "blobs" / "sha256").mkdir(parents=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    (folder / "blobs" / "sha256" / ("0" * 64)).write_bytes(b"of the one before")
    said: dict[str, Any] = {"title": target.spec.title, "version": "", "reference": "", "file": "layout"}
    record.write(report(target, **{**said, **changes}))


@pytest.fixture
def root(workspace: Any, store: Store) -> Workspace:
    """A checkout that is locked and fetched, and its base image made."""
    made: Workspace = workspace(RECIPE)
    (made.recipes / "app" / "files" / "deep" / ("x" * 120)).mkdir(parents=True)
    (made.recipes / "app" / "files" / "deep" / ("x" * 120) / "été.txt").write_text("summer\n")
    lock_all(made)
    for text in INPUTS:
        with store.draft(sha256(text.encode())) as draft:
            draft.write_bytes(text.encode())
            store.take(draft, sha256(text.encode()))
    id = TargetId("base", "debian-12")
    target = Resolver(made, Site(), Kinds(made)).graph((), [id])[id]
    assert isinstance(target, Target)
    files, digest, size = layout()
    put_base(made, target, files, digest=digest, bytes=size)
    return made


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "app.bundle.tar"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


_WRITTEN: list[bytes] = []


@pytest.fixture
def good(request: pytest.FixtureRequest, store: Store, file: Path) -> Files:
    """What a bundle of it holds, which is written once for all tests; the store is empty."""
    if not _WRITTEN:
        root = request.getfixturevalue("root")
        kinds = Kinds(root)
        write_bundle(root, Resolver(root, Site(), kinds), kinds, store, load_images(root, ["app"]), file)
        _WRITTEN.append(file.read_bytes())
        shutil.rmtree(store.folder)
    file.write_bytes(_WRITTEN[0])
    with tarfile.open(file) as archive:
        return {member.name: (archive.extractfile(member) or io.BytesIO()).read() for member in archive}


@pytest.fixture
def read(file: Path, store: Store, tmp_path: Path) -> Read:
    return lambda: read_bundle(file, tmp_path / "new" / "app", Site(store=store.folder))


def pack(file: Path, files: Files, *more: tuple[str, bytes], **member: Any) -> None:
    """Write a tar archive, with ``more`` at its end; the last file gets what is special about it."""
    rows = [*files.items(), *more]
    with tarfile.open(file, "w") as archive:
        for number, (name, data) in enumerate(rows, 1):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            if number == len(rows):
                for key, value in member.items():
                    setattr(entry, key, value)
            archive.addfile(entry, io.BytesIO(data))


def refused(read: Read, tmp_path: Path, store: Store) -> str:
    """Why it is refused; and nothing of it is left, here or anywhere else."""
    with pytest.raises((BadInput, BuildFailed)) as caught:
        read()
    assert not list((tmp_path / "new").glob("*"))
    assert not list(store.files())
    assert not [path for path in (store.folder / "partial").rglob("*") if path.is_file()]
    assert not (tmp_path / "evil").exists()
    assert caught.value.hint
    assert caught.value.message.isprintable() or "\n" in caught.value.message
    return caught.value.message


# A good one


def test_a_bundle_becomes_a_checkout(good: Files, store: Store, read: Read, tmp_path: Path) -> None:
    assert read() == ["app"]
    root = tmp_path / "new" / "app"
    found = {str(path.relative_to(root)): path for path in root.rglob("*") if path.is_file()}
    assert set(found) == {name for name in good if not name.startswith("store/")}
    assert {name: path.read_bytes() for name, path in found.items()} == {name: good[name] for name in found}
    assert {stored.sha256 for stored in store.files()} == {sha256(text.encode()) for text in INPUTS}
    assert list(store.damaged()) == []
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["app"]
    # What the one before left is not carried.
    assert sorted(path.name for path in (root / LAYOUT / "blobs" / "sha256").iterdir()) == sorted(
        name.rpartition("/")[2] for name in layout()[0] if "/" in name
    )


def test_it_tells_what_git_told(good: Files, file: Path, read: Read, tmp_path: Path) -> None:
    pack(file, described(good, recipe={"revision": "a" * 40, "epoch": 1_700_000_000}))
    told = refused(read, tmp_path, Store(tmp_path / "store"))
    # Of another history other files would have been rendered.
    assert told == (
        f"{file} was made by another version of imagefactory: "
        "it has another build/app/context/Dockerfile than this version renders"
    )
    pack(file, good)
    read()
    recipe = tmp_path / "new" / "app" / "recipes" / "app"
    assert standing(recipe, "recipe.yaml") == Standing("unknown", 315_532_800)


@pytest.mark.parametrize("umask", [0o000, 0o002, 0o022, 0o077])
def test_modes_are_what_the_bundle_says_whatever_the_umask_is(
    good: Files, file: Path, read: Read, tmp_path: Path, umask: int
) -> None:
    install = good.pop("recipes/app/install.sh")
    pack(file, good, ("recipes/app/install.sh", install), mode=0o755)
    before = os.umask(umask)
    try:
        read()
    finally:
        os.umask(before)
    root = tmp_path / "new" / "app"
    modes = {path: stat.S_IMODE(path.lstat().st_mode) for path in (root, *root.rglob("*"))}
    assert {modes[path] for path in modes if path.is_dir()} == {0o755}
    assert {str(path.relative_to(root)) for path in modes if path.is_file() and modes[path] == 0o755} == {
        "recipes/app/install.sh"
    }
    assert {mode for path, mode in modes.items() if path.is_file()} == {0o644, 0o755}


def test_what_the_store_has_is_not_taken_again(good: Files, store: Store, read: Read) -> None:
    with store.draft(HELLO[6:]) as draft:
        draft.write_bytes(INPUTS[0].encode())
        before = store.take(draft, HELLO[6:]).stat().st_ino
    read()
    assert store.path(HELLO[6:]).stat().st_ino == before


@pytest.mark.parametrize("kind", ["folder", "link"])
def test_what_is_there_stays_as_it_is(good: Files, read: Read, tmp_path: Path, kind: str) -> None:
    target = tmp_path / "new" / "app"
    target.parent.mkdir()
    target.mkdir() if kind == "folder" else target.symlink_to("nowhere")
    with pytest.raises(BadInput) as caught:
        read()
    assert caught.value.message == f"{target} exists already"
    assert caught.value.hint == "name another folder with --to"
    assert [path.name for path in target.parent.iterdir()] == ["app"]


OTHERS = """\
variants:
  one: {}
  two: {version: "2.0", base: debian-13, parts: [note]}
"""


def test_one_of_several_images_is_carried_with_what_the_others_name(
    root: Workspace, store: Store, file: Path, read: Read, tmp_path: Path
) -> None:
    """A recipe is read as a whole; what is only built for the others stays behind."""
    (root.recipes / "app" / "recipe.yaml").write_text(RECIPE + OTHERS)
    shutil.copy(REPOSITORY / "base_images" / "debian-13.yaml", root.bases)
    files_of_part(root, "note", "name: note\ntitle: A note\nbuild: {keep: [/opt/note]}\n", install="true\n")
    lock_all(root)
    kinds = Kinds(root)
    (image,) = (each for each in load_images(root, ["app"]) if each.id == "app-one")
    write_bundle(root, Resolver(root, Site(), kinds), kinds, store, [image], file)
    assert read() == ["app-one"]
    there = tmp_path / "new" / "app"
    assert (there / "recipes" / "_parts" / "note" / "part.yaml").is_file()
    assert sorted(path.name for path in (there / "build").iterdir()) == ["app-one", "debian-12"]


def test_links_are_in_no_bundle(root: Workspace, store: Store, file: Path, tmp_path: Path) -> None:
    """Not even in place of what an editor leaves, which is no file of the recipe."""
    (tmp_path / "secret").write_text("secret\n")
    (root.recipes / "app" / "files" / "x~").symlink_to(tmp_path / "secret")
    kinds = Kinds(root)
    write_bundle(root, Resolver(root, Site(), kinds), kinds, store, load_images(root, ["app"]), file)
    with tarfile.open(file) as archive:
        assert not [name for name in archive.getnames() if "~" in name]


def test_a_damaged_input_is_in_no_bundle(root: Workspace, store: Store, file: Path) -> None:
    store.path(HELLO[6:]).write_bytes(b"damaged")
    kinds = Kinds(root)
    with pytest.raises(BuildFailed) as caught:
        write_bundle(root, Resolver(root, Site(), kinds), kinds, store, load_images(root, ["app"]), file)
    path = store.path(HELLO[6:])
    assert caught.value.message == f"an input for the bundle is damaged: {path} has another content"
    assert not list(file.parent.glob("*bundle.tar*"))


# No archive, or not of ours

NO_BUNDLE = "is no bundle: imagefactory bundle makes them"
DAMAGED = "is a damaged bundle: its description cannot be read"
VERSION = "was made by another version of imagefactory"


def described(good: Files, recipe: Any = None, **changes: Any) -> Files:
    """With another description."""
    about = json.loads(good["bundle.json"])
    if recipe is not None:
        about["standing"]["recipes/app/recipe.yaml"] = recipe
    return {**good, "bundle.json": json.dumps({**about, **changes}).encode()}


@pytest.mark.parametrize("content", [b"", b"not a tar archive", b"\x1f\x8b\x08" + bytes(600), bytes(10240)])
def test_what_is_no_archive(file: Path, read: Read, store: Store, tmp_path: Path, content: bytes) -> None:
    file.write_bytes(content)
    assert refused_plainly(read, tmp_path, store).startswith(f"{file} is no bundle")


def refused_plainly(read: Read, tmp_path: Path, store: Store) -> str:
    """As ``refused``, where there may be no more to say."""
    with pytest.raises(BadInput) as caught:
        read()
    assert not (tmp_path / "new").exists()
    assert not store.folder.exists()
    return caught.value.message


def test_another_version_is_told_whatever_else_it_holds(
    good: Files, file: Path, read: Read, store: Store, tmp_path: Path
) -> None:
    pack(file, described(good, format=2), ("new/place", b""))
    assert refused(read, tmp_path, store) == f"{file} {VERSION}"


def test_what_is_no_file(file: Path, read: Read, store: Store, tmp_path: Path) -> None:
    """A pipe is not waited for."""
    os.mkfifo(file)
    assert refused_plainly(read, tmp_path, store) == f"{file} {NO_BUNDLE}"


@pytest.mark.parametrize(
    "files", [{}, {"other.txt": b""}, {"recipes/app/recipe.yaml": b"", "bundle.json": b"{}"}]
)
def test_what_is_another_archive(file: Path, read: Read, store: Store, tmp_path: Path, files: Files) -> None:
    pack(file, files)
    assert refused_plainly(read, tmp_path, store) == f"{file} {NO_BUNDLE}"


@pytest.mark.parametrize(
    ("about", "words"),
    [
        (b"{", DAMAGED),
        (b"\xff", DAMAGED),
        (b"[]", DAMAGED),
        (b"1", DAMAGED),
        (b"{}", DAMAGED),
        (b"[" * 500_000, DAMAGED),
        (b'{"a":' * 100_000, DAMAGED),
        (b" " * (2 << 20), DAMAGED),
        ({"images": 1}, DAMAGED),
        ({"images": []}, DAMAGED),
        ({"images": [1]}, DAMAGED),
        ({"images": {"app": 1}}, DAMAGED),
        ({"standing": []}, DAMAGED),
        ({"format": "1"}, DAMAGED),
        ({"format": True}, DAMAGED),
        ({"format": 1.0}, DAMAGED),
        ({"format": 2}, VERSION),
        ({"format": 2, "images": {}}, VERSION),
        ({"more": 1}, DAMAGED),
        ({"images": ["app", "app"]}, "is no bundle: it names images that it has no recipes of"),
        ({"images": ["other"]}, "is no bundle: it names images that it has no recipes of"),
        ({"images": ["*"]}, "is no bundle: it names images that it has no recipes of"),
        ({"images": ["\x1b[2J"]}, "is no bundle: it names images that it has no recipes of"),
    ],
)
def test_a_description_that_is_none(
    good: Files, file: Path, read: Read, store: Store, tmp_path: Path, about: Any, words: str
) -> None:
    pack(file, {**good, "bundle.json": about} if isinstance(about, bytes) else described(good, **about))
    assert refused(read, tmp_path, store) == f"{file} {words}"


@pytest.mark.parametrize(
    "told",
    [
        1,
        {},
        {"revision": 1, "epoch": 1},
        {"revision": "a" * 40, "epoch": -1},
        {"revision": "a" * 40, "epoch": True},
        {"revision": "a" * 40, "epoch": 10**30},
        {"revision": "a" * 40, "epoch": "1"},
        {"revision": "\x1b[2J", "epoch": 1},
        {"revision": "a" * 40, "epoch": 1, "more": 1},
    ],
)
def test_a_history_that_is_none(
    good: Files, file: Path, read: Read, store: Store, tmp_path: Path, told: Any
) -> None:
    pack(file, described(good, recipe=told))
    assert refused(read, tmp_path, store) == f"{file} {DAMAGED}"


def test_a_history_of_something_else(
    good: Files, file: Path, read: Read, store: Store, tmp_path: Path
) -> None:
    about = json.loads(good["bundle.json"])["standing"]
    about["etc/passwd"] = about["recipes/app/recipe.yaml"]
    pack(file, described(good, standing=about))
    message = refused(read, tmp_path, store)
    assert message.endswith("it does not tell the history of what it holds, and of nothing else")


@pytest.mark.parametrize("missing", [1, 600, 5000, 9000])
def test_a_bundle_that_was_cut_off(
    good: Files, file: Path, read: Read, store: Store, tmp_path: Path, missing: int
) -> None:
    pack(file, {**good, "recipes/app/files/big": bytes(20_000)})
    end = file.read_bytes().rindex(b"recipes/app/files/big") + 512 + 20_000
    file.write_bytes(file.read_bytes()[: end - missing])
    assert refused(read, tmp_path, store) == f"{file} is no bundle: it ends within recipes/app/files/big"


def test_a_bundle_without_its_end(good: Files, file: Path, read: Read, store: Store, tmp_path: Path) -> None:
    file.write_bytes(
        file.read_bytes().rstrip(b"\0") + bytes(512 - len(file.read_bytes().rstrip(b"\0")) % 512)
    )
    assert refused(read, tmp_path, store) == f"{file} is no bundle: it ends before its end"


# Names, and what is no file


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("../evil", ", which leads elsewhere"),
        ("/evil", ", which leads elsewhere"),
        ("..", ", which leads elsewhere"),
        (".", ", which leads elsewhere"),
        ("./evil", ", which leads elsewhere"),
        ("recipes/../../evil", ", which leads elsewhere"),
        ("recipes/app/../../../evil", ", which leads elsewhere"),
        ("recipes//evil", ", which leads elsewhere"),
        ("store/../../evil", ", which leads elsewhere"),
        ("recipes/app/files/.git/config", ", which leads elsewhere"),
        (".GIT/config", ", which leads elsewhere"),
        ("recipes\\..\\evil", ", which is no name"),
        ("recipes/app/files/\x1b[2J", ", which is no name"),
        ("recipes/app/files/a\nb", ", which is no name"),
        ("recipes/app/files/\u202egnp.exe", ", which is no name"),
        ("recipes/app/files/" + "x" * 256, ", which is too long a name"),
        ("recipes/app/files/" + "x/" * 500 + "x", ", which is too long a name"),
        ("evil", ""),
        ("etc/passwd", ""),
        ("site.yaml", ""),
        ("recipes", ""),
        ("store", ""),
        ("bundle.json", " twice"),
        ("recipes/app/recipe.yaml", " twice"),
        ("recipes/app/recipe.yaml/x", " twice"),
        ("recipes/app", " twice"),
        (HELLO, " twice"),
        (f"{HELLO}/x", " twice"),
        # What would be believed, or is only there to be found one day.
        ("base_images/other.yaml", ", which nothing in it needs"),
        ("recipes/other/README.md", ", which nothing in it needs"),
        ("recipes/app/notes.txt", ", which nothing in it needs"),
        ("recipes/_parts/other/part.yaml", ", which nothing in it needs"),
        ("build/app/oci/report.json", ", which nothing in it needs"),
        ("build/app/oci/lock", ", which nothing in it needs"),
        ("build/app/context/evil.sh", ", which nothing in it needs"),
        ("build/debian-12/base/history.json", ", which nothing in it needs"),
        ("build/debian-12/base/build.log", ", which nothing in it needs"),
        (f"{LAYOUT}/blobs/sha256/{'0' * 64}", ", which nothing in it needs"),
        (f"store/{'0' * 64}", ", which nothing in it needs"),
        ("store/evil", ", which nothing in it needs"),
        ("pyproject.toml", ", which nothing in it needs"),
    ],
)
def test_a_name_that_is_none_or_needed_by_nothing(
    good: Files, file: Path, read: Read, store: Store, tmp_path: Path, name: str, why: str
) -> None:
    pack(file, good, (name, b"evil" if name != "pyproject.toml" else b"[tool.other]"))
    message = refused(read, tmp_path, store)
    assert message.startswith(f"{file} is no bundle: it holds ")
    assert message.endswith(why or name)


def test_a_name_with_an_end_in_it(good: Files, file: Path, read: Read, store: Store, tmp_path: Path) -> None:
    """In an extended header a NUL is part of the name; in a plain one it ends it."""
    pack(file, good, ("recipes/app/files/x", b""), pax_headers={"path": "recipes/app/files/x\0/../../evil"})
    assert "which is no name" in refused(read, tmp_path, store)


@pytest.mark.parametrize(
    "kind",
    [
        tarfile.SYMTYPE,
        tarfile.LNKTYPE,
        tarfile.FIFOTYPE,
        tarfile.CHRTYPE,
        tarfile.BLKTYPE,
        tarfile.DIRTYPE,
        tarfile.CONTTYPE,
        tarfile.GNUTYPE_SPARSE,
        b"V",
        b"\xff",
    ],
)
def test_only_plain_files_are_taken(
    good: Files, file: Path, read: Read, store: Store, tmp_path: Path, kind: bytes
) -> None:
    pack(file, good, ("recipes/app/files/x", b""), type=kind, linkname="/etc/passwd")
    message = refused(read, tmp_path, store)
    assert message == f"{file} is no bundle: it holds recipes/app/files/x, which is no plain file"


@pytest.mark.parametrize("mode", [0o4755, 0o2755, 0o1644, 0o666, 0o777, 0o000])
def test_only_plain_modes_are_taken(
    good: Files, file: Path, read: Read, store: Store, tmp_path: Path, mode: int
) -> None:
    pack(file, good, ("recipes/app/files/x", b""), mode=mode)
    message = refused(read, tmp_path, store)
    assert message == f"{file} is no bundle: it holds recipes/app/files/x with the mode {mode:o}"


# Tricks with headers


def header(name: str, size: int, kind: bytes = tarfile.REGTYPE, number: bytes | None = None) -> bytes:
    """A plain header, whose size may be written in any way."""
    entry = tarfile.TarInfo(name)
    entry.type = kind
    data = bytearray(entry.tobuf(tarfile.USTAR_FORMAT))
    data[124:136] = number or f"{size:011o}\0".encode()
    data[148:156] = b" " * 8
    data[148:156] = f"{sum(data):06o}\0 ".encode()
    return bytes(data)


def extended(*records: bytes) -> bytes:
    whole = b"".join(records)
    return header("x", len(whole), tarfile.XHDTYPE) + whole + bytes(-len(whole) % 512)


X = header("recipes/app/files/x", 0)
ENDLESS = b"\x80" + (1 << 40).to_bytes(11, "big")
NEVER = "it has a header that imagefactory never writes"
TRICKS = {
    "an extended header without an end": (
        header("x", 0, tarfile.XHDTYPE, ENDLESS),
        f"a header of {1 << 40} bytes",
    ),
    "an empty one": (header("x", 0, tarfile.XHDTYPE), "a header of 0 bytes"),
    "one after the other": (extended(b"10 path=a\n") * 2000, "which is no plain file"),
    "a global one": (header("x", 10, tarfile.XGLTYPE) + bytes(512), "which is no plain file"),
    "a long name of GNU's": (header("x", 0, tarfile.GNUTYPE_LONGNAME, ENDLESS), "which is no plain file"),
    "a long link of GNU's": (header("x", 10, tarfile.GNUTYPE_LONGLINK), "which is no plain file"),
    "sparse": (extended(b"22 GNU.sparse.major=1\n") + X, NEVER),
    "a sparse name": (extended(b"24 GNU.sparse.name=evil\n") + X, NEVER),
    "a link's target": (extended(b"17 linkpath=evil\n") + X, NEVER),
    "an owner": (extended(b"9 uid=12\n") + X, NEVER),
    "a path twice": (extended(b"10 path=a\n", b"10 path=b\n") + X, NEVER),
    "a record of another length": (extended(b"99 path=a\n") + X, NEVER),
    "a record of no length": (extended(b"0 path=a\n") + X, NEVER),
    "a negative length": (extended(b"-9 path=a\n") + X, NEVER),
    "a size that is none": (extended(b"10 size=x\n") + X, "a size that is no number"),
    "a negative size": (extended(b"11 size=-9\n") + X, "a size that is no number"),
    "a huge size": (extended(b"26 size=99999999999999999\n") + X, "it ends within"),
    "a size of many digits": (extended(b"29 size=99999999999999999999\n") + X, "a size that is no number"),
    "a size beyond the end": (extended(b"17 size=99999999\n") + X, "it ends within"),
    "a negative number": (header("recipes/x", 0, number=b"\xff" * 12), "it ends within"),
    "a large number": (header("recipes/x", 0, number=b"\x80" + b"\x7f" * 11), "it ends within"),
    "a number that is none": (header("recipes/x", 0, number=b"zzzzzzzzzzzz"), "something else stands"),
    "a wrong sum": (X[:148] + b"0" * 8 + X[156:], "something else stands"),
    "a name that is no text": (
        header("recipes/x", 0).replace(b"recipes/x", b"recipes/\xff"),
        "something else",
    ),
    "another archive": (b"\x1f\x8b" + b"x" * 510, "something else stands"),
}


@pytest.mark.parametrize("trick", TRICKS)
def test_a_header_that_imagefactory_never_writes(
    good: Files, file: Path, read: Read, store: Store, tmp_path: Path, trick: str
) -> None:
    block, why = TRICKS[trick]
    data = file.read_bytes().rstrip(b"\0")
    data += bytes(-len(data) % 512)
    file.write_bytes(data + block + bytes(1024))
    assert why in refused(read, tmp_path, store)


def test_too_many_files(
    good: Files, file: Path, read: Read, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unbundle, "_MOST_MEMBERS", len(good) - 1)
    assert refused(read, tmp_path, store) == f"{file} is no bundle: it holds more than {len(good) - 1} files"


def test_a_huge_file_among_small_ones(
    good: Files, file: Path, read: Read, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unbundle, "_MOST_TEXT", 100_000)
    pack(file, good, ("recipes/app/files/x", bytes(100_001)))
    message = refused(read, tmp_path, store)
    assert message == f"{file} is no bundle: it holds recipes/app/files/x, which is too large"


def test_more_than_the_disk_has_room_for(
    good: Files, file: Path, read: Read, store: Store, tmp_path: Path
) -> None:
    """Of a file with a hole as large as a disk nothing is written, and nothing read."""
    with file.open("r+b") as out:
        data = file.read_bytes().rstrip(b"\0")
        out.seek(len(data) + -len(data) % 512)
        out.write(header(f"store/{'0' * 64}", 0, number=b"\x80" + (1 << 42).to_bytes(11, "big")))
        out.truncate(out.tell() + (1 << 42) + 1024)
    with pytest.raises(DiskFull) as caught:
        read()
    assert f"{file} needs 4.1e+03 GiB of disk below {tmp_path}, " in caught.value.message
    assert not (tmp_path / "new").exists()
    assert not store.folder.exists()


# What does not fit together


def edited(name: str, old: bytes, new: bytes) -> Callable[[Files], Files]:
    def edit(files: Files) -> Files:
        assert old in files[name]
        return {**files, name: files[name].replace(old, new)}

    return edit


def without(name: str) -> Callable[[Files], Files]:
    return lambda files: {key: data for key, data in files.items() if key != name}


def said(**changes: Any) -> Callable[[Files], Files]:
    """With a report that says something else."""
    return lambda files: {**files, BASE: json.dumps({**json.loads(files[BASE]), **changes}).encode()}


def another_base(**changes: Any) -> Callable[[Files], Files]:
    """With another image, whose report fits to it."""

    def change(files: Files) -> Files:
        found, digest, size = layout(**changes)
        kept = {name: data for name, data in files.items() if not name.startswith(LAYOUT)}
        kept |= {f"{LAYOUT}/{name}": data for name, data in found.items()}
        return said(digest=digest, bytes=size)(kept)

    return change


LOCK = "recipes/app/lock.yaml"
BLOB = f"{LAYOUT}/blobs/sha256/{sha256(b'a layer')}"
OF_BASE = "the report of base image debian-12 is not as imagefactory writes it"
UNREAD = "the report of base image debian-12 cannot be read, or is not there"
IS_DAMAGED = f"{LAYOUT} is damaged: "
UNFIT: dict[str, tuple[Callable[[Files], Files], str]] = {
    "a recipe that asks for more": (
        edited("recipes/app/recipe.yaml", b"apt: [hello]", b"apt: [hello, make]"),
        "app: its inputs, or its base image's, changed since they were locked",
    ),
    "a base image's file": (
        edited("base_images/debian-12.yaml", b"bookworm", b"trixie"),
        "base image debian-12 changed since it was locked",
    ),
    "a recipe that is none": (
        edited("recipes/app/recipe.yaml", b"name:", b"nome:"),
        "can read: recipes/app/",
    ),
    "a lock that names another input": (
        edited(LOCK, HELLO[6:].encode(), b"0" * 64),
        f"it holds {HELLO}, which nothing in it needs",
    ),
    "a lock without a sha256": (edited(LOCK, HELLO[6:].encode(), b"../../evil"), f"can read: {LOCK}"),
    "no lock": (without(LOCK), "app: its inputs are not locked yet"),
    "no base image's lock": (
        without("base_images/debian-12.lock.yaml"),
        "base image debian-12 is not locked yet",
    ),
    "no base image's file": (without("base_images/debian-12.yaml"), "debian-12"),
    "no recipe": (without("recipes/app/recipe.yaml"), "recipe"),
    "no install.sh": (without("recipes/app/install.sh"), "recipes/app/install.sh: is missing"),
    "an input that is not there": (without(HELLO), f"it lacks {HELLO}"),
    "an input of another content": (
        edited(HELLO, b"hello", b"EVIL!"),
        "is damaged: an input in it has sha256",
    ),
    "other rendered files": (
        edited("build/app/context/Dockerfile", b"RUN", b"RUN evil;"),
        f"{VERSION}: it has another build/app/context/Dockerfile than this version renders",
    ),
    "no rendered file": (without("build/app/context/Dockerfile"), "it lacks build/app/context/Dockerfile"),
    "no report": (without(BASE), UNREAD),
    "a report that is none": (lambda files: {**files, BASE: b"[" * 100_000}, UNREAD),
    "a report of a later version": (said(new=1), UNREAD),
    "other ingredients": (
        said(input_digest="0" * 64),
        f"{VERSION}: its base image debian-12 is made of other",
    ),
    "ingredients that are not digested": (said(ingredients={}), OF_BASE),
    "a report of another": (said(id="debian-13"), OF_BASE),
    "a report of another kind": (said(kind="oci"), OF_BASE),
    "a report of a failure": (said(status="failed"), OF_BASE),
    "another title": (said(title="\x1b[2J"), OF_BASE),
    "an engine that is none": (said(engines={"docker": "\x1b[2J"}), OF_BASE),
    "a step that is none": (said(steps=[{"name": "\x1b[2J", "seconds": 1}]), OF_BASE),
    "a time that is none": (said(built="yesterday"), OF_BASE),
    "seconds without end": (said(seconds=1e300), OF_BASE),
    "a candidate": (said(candidate={"file": "../..", "digest": "x", "bytes": 1}), OF_BASE),
    "an earlier one": (said(earlier={"file": "/etc", "digest": "x", "bytes": 1}), OF_BASE),
    "a place elsewhere": (said(file="../../../evil"), IS_DAMAGED + "it stands at '../../../evil'"),
    "a place that is all": (said(file="."), IS_DAMAGED + "it stands at '.'"),
    "no place": (said(file=""), IS_DAMAGED + "it stands at ''"),
    "a name in an engine": (said(reference="evil:latest"), OF_BASE),
    "another digest": (said(digest="sha256:" + "0" * 64), IS_DAMAGED + "its index names another image"),
    "a digest that is none": (said(digest="../../evil"), IS_DAMAGED + "its index names another image"),
    "another size": (said(bytes=1), IS_DAMAGED + "its layers are not as long as its report says"),
    "a blob of another content": (edited(BLOB, b"layer", b"EVIL!"), "is not what was made"),
    "no blob": (without(BLOB), "cannot be read: No such file"),
    "no index": (without(f"{LAYOUT}/index.json"), IS_DAMAGED + "index.json cannot be read"),
    "an index that is none": (
        lambda files: {**files, f"{LAYOUT}/index.json": b"[" * 100_000},
        IS_DAMAGED + "index.json cannot be read",
    ),
    "an index of two": (
        lambda files: {
            **files,
            f"{LAYOUT}/index.json": json.dumps(
                {"manifests": json.loads(files[f"{LAYOUT}/index.json"])["manifests"] * 2}
            ).encode(),
        },
        IS_DAMAGED + "its index does not name one image",
    ),
    "no layers": (another_base(layers=[]), IS_DAMAGED + "its manifest names no layers"),
    "layers that are none": (another_base(layers=[1]), IS_DAMAGED + "it names a blob by what is no sha256"),
    "a layer elsewhere": (
        another_base(layers=[{"digest": "sha256:../../../../../etc/passwd", "size": 1}]),
        IS_DAMAGED + "it names a blob by what is no sha256",
    ),
    "a layer of another size": (
        another_base(layers=[{"digest": f"sha256:{sha256(b'a layer')}", "size": 7.0}]),
        "is not as long as is said of it",
    ),
    "no config": (another_base(config=None), IS_DAMAGED + "it names a blob by what is no sha256"),
}


@pytest.mark.parametrize("unfit", UNFIT)
def test_what_does_not_fit_together(
    good: Files, file: Path, read: Read, store: Store, tmp_path: Path, unfit: str
) -> None:
    change, why = UNFIT[unfit]
    pack(file, change(good))
    message = refused(read, tmp_path, store)
    assert why in message
    assert str(tmp_path / "new") not in message
    assert message.startswith((f"{file} is no bundle", f"{file} was made by", f"{file} is damaged"))


def test_an_interrupt_leaves_nothing(
    good: Files, file: Path, read: Read, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*words: Any) -> Iterator[str]:
        raise KeyboardInterrupt

    monkeypatch.setattr(unbundle, "_inputs", interrupted)
    with pytest.raises(KeyboardInterrupt):
        read()
    assert not list((tmp_path / "new").iterdir())
    assert not list(store.files())
