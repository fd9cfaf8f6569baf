"""The tree of one commit as a tar archive whose bytes depend on the tree alone.

git runs in a sandbox: a repository from outside may say much that it acts on (.gitattributes, filters,
submodules, hooks, and as a folder its whole configuration), and nothing of that is needed.
"""

from __future__ import annotations

import re
import tarfile
import tempfile
import urllib.parse
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from imagefactory.errors import BuildFailed, Gone, NetworkFault, disk_error
from imagefactory.inputs.asking import reopened, run_or_raise
from imagefactory.inputs.protocol import Means
from imagefactory.sandbox import Errand, Limits, Relay, route_to
from imagefactory.system import archives
from imagefactory.system.faults import network_words
from imagefactory.system.redact import harmless, redact

_NETWORK = network_words(
    r"timed out",
    r"early EOF",
    r"RPC failed",
    r"unexpected disconnect",
    r"URL returned error: (?:5\d\d|429)",
)
_NO_COMMIT, _SUBMODULE, _EMPTY = "(no such commit) ", "(submodule) ", "(nothing)"
_REFUSED = re.compile(r"error: object \w+: (\w+: .*)|error: (invalid path .*)")
_OTHER = "check the address in the recipe, the network, and mirrors in site.yaml"
_NOT_THERE = re.compile(r"repository '.*' not found")
_DENIED = re.compile(r"returned error: 4\d\d")
# Many servers give a single commit; those that don't, and plain file servers, give everything.
_SCRIPT = """\
git init --quiet --bare tree.git
cd tree.git
git fetch --quiet --depth=1 --no-tags "$FROM" "$COMMIT" 2>/dev/null ||
    git fetch --quiet --no-tags "$FROM" '+refs/*:refs/fetched/*'
git cat-file -e "$COMMIT^{commit}" 2>/dev/null || {
    [ -n "$(git for-each-ref --count=1)" ] || echo "(nothing)"
    echo "(no such commit) $COMMIT"
    exit 1
}
git ls-tree -r -z --full-tree "$COMMIT" | tr '\\0\\n' '\\n?' |
    sed -n "s/^160000 [^\t]*\t/(submodule) /p" >/job/modules
if [ -s /job/modules ]; then
    head -n 1 /job/modules
    exit 1
fi
mkdir -p info
# The tree as it is: what its .gitattributes leave out, fill in or convert elsewhere stays as it is.
echo '* -export-ignore -export-subst -text -eol -crlf -ident -filter -working-tree-encoding' >info/attributes
git archive --format=tar "$COMMIT" >&3
"""
_SETTINGS = """\
[safe]
    directory = *
[protocol]
    allow = never
[protocol "http"]
    allow = always
[protocol "file"]
    allow = always
[core]
    hooksPath = /dev/null
[transfer]
    fsckObjects = true
[http]
    followRedirects = false
"""
_LIMITS = Limits(seconds=3600, disk=16 << 30, file=16 << 30)
_BOUNDS = archives.Bounds(16 << 30, seconds=1800)
_MAX_NAME = 4096
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_KINDS = (tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE)


def tree_archive(url: str, address: str, commit: str, what: str, target: Path, means: Means) -> None:
    """Write the tree of ``commit`` to ``target`` as an uncompressed tar archive.

    ``url`` is the repository's own address, ``address`` where it is really fetched from. Raises
    NetworkFault or BuildFailed.
    """
    relay, inputs = Relay(), dict[str, bytes | Path]({"settings": _SETTINGS.encode()})
    if address.startswith("file:"):
        inputs["repository"] = _folder(address, url, what)
        place = "file:///in/repository"
    else:
        place = relay.add(route_to(address, means.web, what, posts=True))
    errand = Errand(
        what,
        _SCRIPT,
        inputs,
        {
            "FROM": place,
            "COMMIT": commit,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": "/in/settings",
            "GIT_TERMINAL_PROMPT": "0",
        },
        _LIMITS,
        relay,
    )

    def failure(lines: Sequence[str], what: str, means: Means) -> BuildFailed:
        return _failure(lines, redact(address) if place.startswith("http") else url, place, what, means)

    with tempfile.TemporaryFile(dir=means.scratch) as tree:
        run_or_raise(errand, means, failure, tree)
        with reopened(tree) as content:
            _write_tar(content, what, target)


def _folder(address: str, url: str, what: str) -> Path:
    folder = Path(urllib.request.url2pathname(urllib.parse.urlsplit(address).path))
    if not folder.is_dir():
        raise BuildFailed(
            f"{what}: there is no repository {folder}", hint=f"check what site.yaml has in place of {url}"
        )
    return folder.resolve()


def _failure(lines: Sequence[str], url: str, place: str, what: str, means: Means) -> BuildFailed:
    for line in lines:
        if line.startswith(_EMPTY):
            return BuildFailed(
                f"{what}: {url} has no branch and no tag: it is no git repository, or an empty one",
                hint="look at it with a browser, perhaps you must log in first; " + _OTHER,
            )
        if line.startswith(_NO_COMMIT):
            return BuildFailed(
                f"{what}: the repository {url} has no commit {line.removeprefix(_NO_COMMIT)}",
                hint="check 'commit' in the recipe",
            )
        if line.startswith(_SUBMODULE):
            return BuildFailed(
                f"{what}: {line.removeprefix(_SUBMODULE)!r} is a submodule, which is not fetched",
                hint="declare it as a source of its own, and put it in place in install.sh",
            )
        if refused := _REFUSED.match(line):
            return BuildFailed(
                f"{what}: the repository {url} holds what git refuses: {refused[1] or refused[2]}",
                hint="name another commit, or an archive of the source, which is not read by git",
                tail=lines[-8:],
                log=means.log.path,
            )
    words = [harmless(line.strip().replace(place, url)) for line in lines]
    worst = [word for kind in ("fatal:", "error:", "") for word in words if word.startswith(kind)]
    said = worst[0] if worst else "git failed"
    kind = NetworkFault if _NETWORK("\n".join(words)) else BuildFailed
    if _NOT_THERE.search(said):
        kind = Gone
    elif _DENIED.search(said):
        kind = BuildFailed
    return kind(f"{what}: {said[:300]}", hint=_OTHER, tail=lines[-8:], log=means.log.path)


def _write_tar(tree: IO[bytes], what: str, target: Path) -> None:
    """The headers of git differ between its versions; and who wrote them in the sandbox is not known."""
    try:
        with archives.told(what), tarfile.open(target, "w", format=tarfile.GNU_FORMAT) as archive:
            for packed, member in archives.members(tree, what, _BOUNDS):
                _check(member, what)
                entry = tarfile.TarInfo(member.name)
                entry.type, entry.linkname = member.type, member.linkname
                entry.size = member.size if member.isfile() else 0
                entry.mtime = member.mtime
                entry.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
                archive.addfile(entry, packed.extractfile(member) if member.isfile() else None)
    except OSError as error:
        raise disk_error(error, target) from None


def _check(member: tarfile.TarInfo, what: str) -> None:
    """It refuses such names and kinds itself; this holds where it was made not to."""
    parts = member.name.split("/")
    fine = member.type in _KINDS and len(member.name) <= _MAX_NAME and not {"", "..", ".git"} & set(parts)
    if not fine or _CONTROL.search(member.name + member.linkname) or len(member.linkname) > _MAX_NAME:
        raise BuildFailed(
            f"{what}: the commit holds {member.name[:100]!r}, which no source may hold",
            hint="name another commit, or an archive of the source, which is not read by git",
        )
