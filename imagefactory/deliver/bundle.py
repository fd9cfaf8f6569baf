"""Bundles: all that builds some images, in one file, for a machine without any network.

A bundle is a tar archive of a small checkout: recipes, base images' files, locks and OCI layouts, rendered
contexts, and under ``store/`` every input. ``bundle.json`` holds what git would tell about them.
"""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from imagefactory.definitions.recipes import PARTS
from imagefactory.errors import BadInput, BuildFailed, disk_error
from imagefactory.locks import base_lock_file, fetched_file, lock_file
from imagefactory.locks.states import LockState
from imagefactory.model.lock import Lock
from imagefactory.model.spec import ImageDefinition
from imagefactory.model.target import TargetId
from imagefactory.plan import Resolver, targets_of_base
from imagefactory.system.files import make_folder, remove_tree
from imagefactory.system.history import BUNDLE_FILE, standing
from imagefactory.system.records import BUNDLES, home_of, record_of
from imagefactory.system.site import Site
from imagefactory.system.store import Store, file_sha256
from imagefactory.system.workspace import Workspace

FORMAT = 1
_BESIDE = ("files", "tests", "icons")
_FIRST = ("recipes", "base_images", "build", "store")


def write_bundle(
    workspace: Workspace, resolver: Resolver, store: Store, images: Iterable[ImageDefinition], file: Path
) -> int:
    """Write the bundle of images that are locked and fetched, on base images that are made; its bytes.

    The file is there at once or not at all. Raises BuildFailed or a kind of it.
    """
    images = list(images)
    make_folder(file.parent)
    draft = file.with_name(f".{file.name}.draft")
    try:
        with tarfile.open(draft, "w", format=tarfile.PAX_FORMAT) as archive:
            _add_data(archive, BUNDLE_FILE, _description(workspace, images))
            for source, name in _files(workspace, resolver, store, images):
                archive.add(source, name, recursive=False, filter=_nameless)
        size = draft.stat().st_size
        draft.replace(file)
    except OSError as error:
        raise disk_error(error, file) from None
    finally:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
    return size


def read_bundle(file: Path, target: Path, site: Site) -> list[str]:
    """Make a checkout of a bundle at ``target``, which must not exist, and take its inputs into the store.

    Returns its images' selectors. Raises BadInput for a file that is no bundle, and BuildFailed for one that
    is damaged.
    """
    if target.exists():
        raise BadInput(f"{target} exists already", hint="name another folder with --to")
    store = Store(site.store)
    make_folder(target.parent)
    draft = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        with tarfile.open(file, "r:") as archive:
            images = _read_description(archive, file)
            for member in archive:
                _take(archive, member, draft, store, file)
        draft.chmod(0o755)
        draft.rename(target)
    except tarfile.TarError as error:
        raise BadInput(f"{file} is no bundle, or a damaged one: {error}") from None
    except OSError as error:
        raise disk_error(error, Path(error.filename or target)) from None
    finally:
        remove_tree(draft)
    return images


def _description(workspace: Workspace, images: list[ImageDefinition]) -> bytes:
    known = {f"recipes/{i.recipe}/recipe.yaml": (i.folder.revision, i.folder.epoch) for i in images}
    for name in {image.base for image in images}:
        last = standing(workspace.bases, f"{name}.yaml", f"{name}.lock.yaml")
        known[f"base_images/{name}.yaml"] = (last.revision, last.epoch)
    content = {
        "format": FORMAT,
        "images": [image.selector for image in images],
        "standing": {key: {"revision": r, "epoch": e} for key, (r, e) in sorted(known.items())},
    }
    return json.dumps(content, indent=2).encode() + b"\n"


def _files(
    workspace: Workspace, resolver: Resolver, store: Store, images: list[ImageDefinition]
) -> Iterator[tuple[Path, str]]:
    """Every file, and its name in the archive."""
    project = workspace.root / "pyproject.toml"
    if project.is_file() and workspace.source:
        yield project, "pyproject.toml"
    locks: list[Lock] = []
    for name in sorted({image.base for image in images}):
        locks.append(_good(resolver.base(name).state))
        for file in (workspace.bases / f"{name}.yaml", base_lock_file(workspace, name)):
            yield file, f"base_images/{file.name}"
        # An upstream image is laid out in no time, of files that are in the bundle already.
        made = () if resolver.base(name).definition.upstream else targets_of_base(name)
        for id in made:
            for file in _made(workspace, id):
                yield file, str(file.relative_to(workspace.root))
    for file in _written(workspace, images):
        yield file, str(file.relative_to(workspace.root))
    for image in images:
        locks.append(_good(resolver.image(image).state))
        for file in _tree(home_of(workspace, image.id).context):
            yield file, str(file.relative_to(workspace.root))
    inputs = {file.sha256 for lock in locks for _, file in lock.files()}
    data = {data.sha256 for image in images for data in image.test_data.values()}
    for sha256 in sorted({*inputs, *filter(store.has, data)}):
        yield store.path(sha256), f"store/{sha256}"


def _written(workspace: Workspace, images: Iterable[ImageDefinition]) -> Iterator[Path]:
    """What people wrote, and what locking wrote beside it."""
    for recipe in sorted({image.recipe for image in images}):
        folder = workspace.recipes / recipe
        yield from (folder / "recipe.yaml", folder / "install.sh", lock_file(workspace, recipe))
        more = (fetched_file(workspace, recipe), folder / "README.md")
        yield from (file for file in more if file.is_file())
        yield from (file for name in _BESIDE for file in _tree(folder / name))
    for part in sorted({part for image in images for part in image.parts}):
        yield from _tree(workspace.recipes / PARTS / part)


def _made(workspace: Workspace, id: TargetId) -> list[Path]:
    """The report of a target, and what was made and kept as files."""
    record = record_of(workspace, id)
    report = record.read()
    assert report
    return [record.report_file, *_tree(record.shelf / report.file)]


def _good(state: LockState) -> Lock:
    assert state.good
    return state.good


def _tree(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _nameless(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Nothing of this machine: no owner, no times; links to one file are that file."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mtime = 0
    member.mode = 0o755 if member.mode & 0o100 else 0o644
    return member


def _add_data(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))


def _read_description(archive: tarfile.TarFile, file: Path) -> list[str]:
    first = archive.next()
    if first is None or first.name != BUNDLE_FILE or not first.isfile():
        raise BadInput(f"{file} is no bundle: imagefactory bundle makes them")
    content = archive.extractfile(first)
    try:
        description = json.loads(content.read() if content else b"")
        if description["format"] != FORMAT:
            raise BadInput(f"{file} was made by another version of imagefactory")
        return [str(name) for name in description["images"]]
    except (ValueError, KeyError, TypeError):
        raise BadInput(f"{file} is a damaged bundle: its description cannot be read") from None


def _take(archive: tarfile.TarFile, member: tarfile.TarInfo, draft: Path, store: Store, file: Path) -> None:
    path = PurePosixPath(member.name)
    known = path.parts[:1] in [(name,) for name in _FIRST] or member.name in (BUNDLE_FILE, "pyproject.toml")
    if not member.isfile() or not known or ".." in path.parts or path.is_absolute():
        raise BadInput(f"{file} is no bundle: it holds {member.name}")
    content = archive.extractfile(member)
    assert content
    if path.parts[0] != "store":
        target = draft / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as out:
            shutil.copyfileobj(content, out)
        target.chmod(member.mode & 0o777)
        return
    sha256 = path.name
    with store.draft(sha256) as incoming:
        if store.has(sha256):
            return
        with incoming.open("wb") as out:
            shutil.copyfileobj(content, out)
        actual = file_sha256(incoming)
        if actual != sha256:
            incoming.unlink()
            raise BuildFailed(
                f"{file} is damaged: an input in it has sha256 {actual}, and {sha256} is expected",
                hint="copy the bundle again",
            )
        store.take(incoming, sha256)


def default_name(images: Iterable[ImageDefinition], resolver: Resolver, workspace: Workspace) -> Path:
    """Where a bundle of images that are locked goes unless told otherwise."""
    images = [resolver.stated(image) for image in images]
    name = images[0].selector if len(images) == 1 else images[0].recipe
    return workspace.build / BUNDLES / f"{name}-{images[0].version}.bundle.tar"
