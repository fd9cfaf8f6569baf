"""A bundle to a checkout, and inputs in the store: all of it, or nothing.

A bundle is not believed. It must be exactly what would be written of the checkout that it makes: the same
recipes and locks give the same inputs, base images and rendered files here.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from imagefactory.definitions.recipes import load_images, recipe_names
from imagefactory.deliver.contents import FORMAT, PROJECT, STORE, Contents, OtherVersion, Unfit, contents_of
from imagefactory.deliver.tape import BadTape, Member, members, shown
from imagefactory.errors import BadFiles, BadInput, BuildFailed, DiskFull, disk_error
from imagefactory.plan import Resolver
from imagefactory.system.disks import by_disk, gib
from imagefactory.system.files import make_folder, remove_tree
from imagefactory.system.history import BUNDLE_FILE, LATEST, NO_HISTORY
from imagefactory.system.shared import is_plain
from imagefactory.system.site import Site
from imagefactory.system.store import Store
from imagefactory.system.workspace import Workspace
from imagefactory.targets.register import Kinds

_TOP = ("recipes", "base_images", "build", STORE)
_BLOBS = "/blobs/"
_MOST_MEMBERS = 100_000
_MOST_TEXT = 64 << 20  # bytes of a file that is neither an input nor a base image's blob
_MOST_ABOUT = 1 << 20
_PIECE = 1 << 20
_BLOCK = 4096  # that a file takes on disk at least
_KEPT_NOTHING = "nothing of it was kept: get it anew from who made it"


@dataclass(frozen=True, slots=True)
class _Bundle:
    """An open bundle, with its members by name."""

    file: Path
    archive: BinaryIO
    members: dict[str, Member]

    def refused(self, why: str) -> BadInput:
        return BadInput(f"{self.file} is no bundle: {why}", hint=_KEPT_NOTHING)

    def copy(self, member: Member, write: Callable[[bytes], object]) -> str:
        """Hand on what a member holds, piece by piece; its sha256."""
        at, end, digest = member.at, member.at + member.size, hashlib.sha256()
        while at < end:
            try:
                data = os.pread(self.archive.fileno(), min(end - at, _PIECE), at)
            except OSError as error:
                raise _unreadable(self.file, error) from None
            if not data:
                raise self.refused(f"it ends within {member.name}")
            at += len(data)
            digest.update(data)
            write(data)
        return digest.hexdigest()


def read_bundle(file: Path, target: Path, site: Site) -> list[str]:
    """Make a checkout of a bundle at ``target``, which must not exist, and take its inputs into the store.

    Returns its images' selectors. Raises BadInput for a file that is no bundle, and BuildFailed for one that
    is damaged, or for which there is no room; then nothing of it is left.
    """
    if os.path.lexists(target):
        raise BadInput(f"{target} exists already", hint="name another folder with --to")
    store = Store(site.store)
    with _opened(file) as archive, contextlib.ExitStack() as left:
        bundle = _Bundle(file, archive, {})
        about = _look_through(bundle)
        _check_room(bundle, target.parent, store)
        make_folder(target.parent)
        try:
            draft = Path(tempfile.mkdtemp(prefix=f".{target.name[:100]}-", dir=target.parent))
            left.callback(remove_tree, draft)
            for member in bundle.members.values():
                if not member.name.startswith(f"{STORE}/"):
                    _write(bundle, member, draft / member.name, draft)
            images = _check_checkout(bundle, about, draft, site)
            with store.tray() as tray:
                for sha256 in list(_inputs(bundle, store, tray)):
                    store.take(tray / sha256, sha256)
            draft.chmod(0o755)
            draft.rename(target)
        except OSError as error:
            raise disk_error(error, Path(error.filename or target)) from None
    return images


@contextlib.contextmanager
def _opened(file: Path) -> Iterator[BinaryIO]:
    try:
        handle = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise _unreadable(file, error) from None
    with os.fdopen(handle, "rb") as archive:
        if not is_plain(os.fstat(handle)):
            raise BadInput(f"{file} is no bundle: imagefactory bundle makes them")
        yield archive


def _look_through(bundle: _Bundle) -> dict[str, Any]:
    """Find its members; what ``bundle.json``, the first, says. No other is read. Raises BadInput."""
    file, archive, found = bundle.file, bundle.archive, bundle.members
    about: dict[str, Any] = {}
    folders: set[str] = set()
    try:
        for member in members(archive, os.fstat(archive.fileno()).st_size):
            name, top = member.name, member.name.partition("/")
            if not found and name != BUNDLE_FILE:
                break
            if len(found) == _MOST_MEMBERS:
                raise BadTape(f"it holds more than {_MOST_MEMBERS} files")
            if name not in (BUNDLE_FILE, PROJECT) and not (top[0] in _TOP and top[2]):
                raise BadTape(f"it holds {shown(name)}")
            above = [name[:at] for at, letter in enumerate(name) if letter == "/"]
            if name in found or name in folders or any(folder in found for folder in above):
                raise BadTape(f"it holds {shown(name)} twice")
            if member.size > _MOST_TEXT and top[0] != STORE and _BLOBS not in name:
                raise BadTape(f"it holds {shown(name)}, which is too large")
            found[name] = member
            folders.update(above)
            about = about or _about(bundle)  # of another version more may be different
    except BadTape as error:
        words = "is no bundle" if found else "is no bundle, or a damaged one"
        raise BadInput(f"{file} {words}: {error}", hint=_KEPT_NOTHING) from None
    except OSError as error:
        raise _unreadable(file, error) from None
    if not found:
        raise BadInput(f"{file} is no bundle: imagefactory bundle makes them")
    return about


def _unreadable(file: Path, error: OSError) -> BadInput:
    return BadInput(
        f"{file} cannot be read: {error.strerror}", hint="copy it again, or make it readable for you"
    )


def _about(bundle: _Bundle) -> dict[str, Any]:
    """What ``bundle.json`` says, of which only the format is checked. Raises BadInput."""
    pieces: list[bytes] = []
    if bundle.members[BUNDLE_FILE].size <= _MOST_ABOUT:
        bundle.copy(bundle.members[BUNDLE_FILE], pieces.append)
    try:
        about = json.loads(b"".join(pieces))
        if type(about["format"]) is int and about["format"] != FORMAT:
            raise _other_version(bundle)
        images, standing = about["images"], about["standing"]
        fine = type(about["format"]) is int and isinstance(images, list) and isinstance(standing, dict)
        fine = fine and images and all(isinstance(name, str) for name in images)
        fine = fine and all(map(_is_standing, standing.values()))
        if fine and len(about) == 3:
            return dict(about)
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    raise BadInput(f"{bundle.file} is a damaged bundle: its description cannot be read", hint=_KEPT_NOTHING)


def _check_room(bundle: _Bundle, folder: Path, store: Store) -> None:
    """Raises DiskFull before anything is written that would not fit."""
    sizes = {name: -(-member.size // _BLOCK) * _BLOCK for name, member in bundle.members.items()}
    inputs = {name for name in sizes if name.startswith(f"{STORE}/")}
    wanted = {
        str(folder): sum(size for name, size in sizes.items() if name not in inputs),
        str(store.folder): sum(sizes[name] for name in inputs if not store.has(name.partition("/")[2])),
    }
    for place, (needed, free) in by_disk(wanted).items():
        if needed > free:
            raise DiskFull(
                f"{bundle.file} needs {gib(needed)} of disk below {place}, {gib(free)} are free",
                hint="free some space there, then run the same command again",
            )


def _write(bundle: _Bundle, member: Member, file: Path, draft: Path) -> None:
    """A file as the member holds it, and the folders above it, whatever the umask is."""
    for folder in reversed(file.relative_to(draft).parents):
        with contextlib.suppress(FileExistsError):
            (draft / folder).mkdir()
            (draft / folder).chmod(0o755)
    with file.open("xb") as out:
        os.fchmod(out.fileno(), member.mode)
        bundle.copy(member, out.write)


def _check_checkout(bundle: _Bundle, about: Mapping[str, Any], root: Path, site: Site) -> list[str]:
    """Whether the bundle is what would be written of the checkout; its images' selectors. Raises BadInput."""
    workspace = Workspace(root)
    try:
        # Others are not read: nothing needs them.
        meant = [
            r for r in recipe_names(workspace) if any(f"{n}-".startswith(f"{r}-") for n in about["images"])
        ]
        known = {image.selector: image for image in load_images(workspace, meant)}
        images = [known[name] for name in about["images"] if name in known]
        if len(images) != len(about["images"]) or len({image.id for image in images}) != len(images):
            raise Unfit("it names images that it has no recipes of")
        kinds = Kinds(workspace)
        contents = contents_of(workspace, Resolver(workspace, site, kinds), kinds, images)
    except OtherVersion as error:
        raise _other_version(bundle, error.message) from None
    except BadFiles as error:
        words = "is no bundle that this version of imagefactory can read"
        raise BadInput(f"{bundle.file} {words}: {error.message}", hint=_KEPT_NOTHING) from None
    except BadInput as error:
        raise bundle.refused(error.message.replace(f"{root}/", "")) from None
    except RecursionError:
        raise bundle.refused("it holds what is nested too deeply") from None
    except BuildFailed as error:
        raise bundle.refused(error.message.replace(f"{root}/", "")) from None
    _check_names(bundle, contents)
    if about["standing"].keys() != contents.standing.keys():
        raise bundle.refused("it does not tell the history of what it holds, and of nothing else")
    for name, data in contents.rendered.items():
        if (root / name).read_bytes() != data:
            raise _other_version(bundle, f"it has another {name} than this version renders")
    return [image.selector for image in images]


def _other_version(bundle: _Bundle, why: str = "") -> BadInput:
    return OtherVersion(
        f"{bundle.file} was made by another version of imagefactory" + (f": {why}" if why else ""),
        hint="make it anew with this version, or read it with that one",
    )


def _check_names(bundle: _Bundle, contents: Contents) -> None:
    """Whether nothing is there that nobody needs, and all that is needed. Raises BadInput."""
    inputs = {f"{STORE}/{sha256}" for sha256 in contents.inputs}
    needed = {BUNDLE_FILE, *contents.files, *contents.rendered, *inputs}
    allowed = needed | {f"{STORE}/{sha256}" for sha256 in contents.data}
    for name in bundle.members:
        if name not in allowed:
            raise bundle.refused(f"it holds {shown(name)}, which nothing in it needs")
    if lacking := sorted(needed - bundle.members.keys()):
        raise bundle.refused(f"it lacks {shown(lacking[0])}")


def _is_standing(entry: Any) -> bool:
    """Whether what is told of history has the values that imagefactory writes."""
    return (
        isinstance(entry, dict)
        and entry.keys() == {"revision", "epoch"}
        and isinstance(entry["revision"], str)
        and re.fullmatch(rf"[0-9a-f]{{40,64}}(-dirty)?|{NO_HISTORY}", entry["revision"]) is not None
        and type(entry["epoch"]) is int
        and 0 <= entry["epoch"] <= LATEST
    )


def _inputs(bundle: _Bundle, store: Store, tray: Path) -> Iterator[str]:
    """Check every input; those that the store lacks are in the tray then, by sha256. Raises BuildFailed."""
    for name, member in bundle.members.items():
        folder, _, sha256 = name.partition("/")
        if folder != STORE:
            continue
        if store.has(sha256):
            actual = bundle.copy(member, len)
        else:
            with (tray / sha256).open("xb") as out:
                actual = bundle.copy(member, out.write)
        if actual != sha256:
            raise BuildFailed(
                f"{bundle.file} is damaged: an input in it has sha256 {actual}, and {sha256} is expected",
                hint="copy the bundle again",
            )
        if (tray / sha256).exists():
            yield sha256
