"""The tree of one commit as a tar archive whose bytes depend on the tree alone."""

from __future__ import annotations

import tarfile
from pathlib import Path

from imagefactory.errors import BuildFailed, NetworkFault
from imagefactory.inputs.protocol import Means
from imagefactory.system.faults import network_words
from imagefactory.system.processes import run, stream
from imagefactory.system.redact import redact

_NETWORK = network_words(
    r"timed out",
    r"early EOF",
    r"RPC failed",
    r"unexpected disconnect",
    r"URL returned error: (?:5\d\d|429)",
)
_SUBMODULE = "160000"
_AS_IT_IS = "-export-ignore -export-subst -text -eol -crlf -ident -filter -working-tree-encoding"


def tree_archive(url: str, address: str, commit: str, what: str, target: Path, means: Means) -> None:
    """Write the tree of ``commit`` to ``target`` as an uncompressed tar archive.

    ``url`` is the repository's own address, ``address`` where it is really fetched from. Raises
    NetworkFault or BuildFailed.
    """
    repository = target.with_name(f"{target.name}.git")
    _git(["init", "--quiet", "--bare", str(repository)], what, {}, means)
    environment = _environment(url, address, means)
    try:
        # Many servers give a single commit; those that don't, and plain file servers, give everything.
        _git(
            ["-C", str(repository), "fetch", "--quiet", "--depth=1", "--no-tags", url, commit],
            what,
            environment,
            means,
        )
    except NetworkFault:
        raise
    except BuildFailed:
        everything = ["-C", str(repository), "fetch", "--quiet", "--no-tags", url, "+refs/*:refs/fetched/*"]
        _git(everything, what, environment, means)
    if run(["git", "-C", str(repository), "cat-file", "-e", f"{commit}^{{commit}}"]).status:
        raise BuildFailed(
            f"{what}: the repository {url} has no commit {commit}", hint="check 'commit' in the recipe"
        )
    _write_tar(repository, commit, what, target)


def _environment(url: str, address: str, means: Means) -> dict[str, str]:
    """Where to fetch from, and with what settings: never on the command line, which others can read."""
    settings = {
        f"url.{address}.insteadOf": url,
        "protocol.allow": "never",
        "protocol.https.allow": "always",
        "protocol.http.allow": "always",
        "protocol.file.allow": "always",
        "core.hooksPath": "/dev/null",
        "transfer.fsckObjects": "true",
    }
    if address == url:
        del settings[f"url.{address}.insteadOf"]
    variables = {
        "GIT_CONFIG_COUNT": str(len(settings)),
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_CONFIG_NOSYSTEM": "1",
    }
    for number, (key, value) in enumerate(settings.items()):
        variables |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return {**means.site.environment(), **variables}


def _git(words: list[str], what: str, environment: dict[str, str], means: Means) -> None:
    lines: list[str] = []

    def hear(line: str) -> None:
        lines.append(line)
        means.log.line(line)

    if stream(["git", *words], hear, stop=means.stop, environment=environment) == 0:
        return
    said = redact(" ".join(line.strip() for line in lines)[-300:]) or "git failed"
    kind = NetworkFault if _NETWORK(said) else BuildFailed
    raise kind(
        f"{what}: {said}", hint="check the address in the recipe, the network, and mirrors in site.yaml"
    )


def _write_tar(repository: Path, commit: str, what: str, target: Path) -> None:
    """The tree as it is: what its .gitattributes leave out, fill in or convert elsewhere stays as it is."""
    listed = run(["git", "-C", str(repository), "ls-tree", "-r", "-z", "--full-tree", commit]).stdout
    for line in listed.split("\0"):
        if line.startswith(_SUBMODULE):
            _, _, path = line.partition("\t")
            raise BuildFailed(
                f"{what}: '{path}' is a submodule, which is not fetched",
                hint="declare it as a source of its own, and put it in place in install.sh",
            )
    (repository / "info").mkdir(exist_ok=True)
    (repository / "info" / "attributes").write_text(f"* {_AS_IT_IS}\n")
    packed = repository / "tree.tar"
    done = run(
        ["git", "-C", str(repository), "archive", "--format=tar", f"--output={packed}", commit], timeout=600
    )
    if done.status:
        raise BuildFailed(f"{what}: git archive failed: {done.stderr.strip()[-300:]}")
    with (
        tarfile.open(packed, "r:") as tree,
        tarfile.open(target, "w", format=tarfile.GNU_FORMAT) as archive,
    ):
        for member in tree:  # git's own headers differ between its versions
            entry = tarfile.TarInfo(member.name)
            entry.type, entry.linkname, entry.size = member.type, member.linkname, member.size
            entry.mtime = member.mtime
            entry.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            archive.addfile(entry, tree.extractfile(member) if member.isfile() else None)
