"""Shell commands of foreign recipes: packages to the inputs, downloads to sources, the rest to install.sh."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from imagefactory.importing.commands.fetches import Clone, Fetch, clone_of, fetches
from imagefactory.importing.commands.packages import (
    CONDA,
    OTHER_SYSTEMS,
    apt_of,
    conda_of,
    does_of_pip,
    pip_of,
)
from imagefactory.importing.commands.shell import (
    Statement,
    Unreadable,
    expand,
    is_assignment,
    programs,
    statements,
)
from imagefactory.importing.drafting.adding import add_apt, add_channel, add_conda, add_pip
from imagefactory.importing.drafting.draft import DONE, NOT, PART, Draft, SourceDraft
from imagefactory.importing.drafting.network import ANOTHER_ARCHIVE, asks_network, is_cache
from imagefactory.importing.drafting.script import Halt, Line, Note, notes
from imagefactory.importing.drafting.words import word_of_shell
from imagefactory.importing.fits import file_of, fits, name_of_source, slug, source_path
from imagefactory.importing.steps import Run
from imagefactory.model.fields import GitCommit, GitUrl, SourceUrl

_BASHISMS = re.compile(
    r"\[\[|(^|[\s;])\w+\+?=\(|\$\{\w+:\d|<\(|^source |[;&]\s*source |\bpushd\b", re.MULTILINE
)
_CONDA_INSTALLER = re.compile(
    r"(mini(conda|forge|mamba)\d?|mambaforge|anaconda\d)\S*\.sh|micro\.?mamba", re.I
)
_MOVES = re.compile(r"/(latest|main|master|develop|HEAD|nightly)([/.]|$)|[_-]latest[._-]")


@dataclass(slots=True)
class Runner:
    """Translates one ``Run``. What it keeps of it goes into the draft's script."""

    draft: Draft
    step: Run
    lines: list[Line] = field(default_factory=list)
    needs: dict[str, None] = field(default_factory=dict)
    known: dict[str, str] = field(default_factory=dict)
    installers: set[str] = field(default_factory=set)
    clones: list[tuple[str, SourceDraft]] = field(default_factory=list)
    good: int = 0
    why: list[str] = field(default_factory=list)
    blocked: int = 0

    def translate(self) -> tuple[str, str]:
        """What became of it, and why that is not all."""
        self.known = dict(self.draft.known)
        for line in self.step.lines:
            try:
                for statement in statements(line):
                    self._statement(statement)
            except Unreadable:
                self._block(line, "the quotes or brackets in it do not end")
        self._write()
        if not self.why:
            return DONE, ""
        return (PART if self.good or not self.blocked else NOT), "; ".join(dict.fromkeys(self.why))

    def _write(self) -> None:
        lines = self.lines
        if not lines:
            return
        text = "\n".join(self.step.lines)
        if any(_is_code(line) for line in lines) and (self.step.shell == "bash" or _BASHISMS.search(text)):
            inner = "\n".join(map(str, lines))
            fail = 'fail() { echo "install.sh: $*" >&2; exit 1; }\n' if "\nfail " in f"\n{inner}" else ""
            options = "".join(f" {shlex.quote(option)}" for option in self.step.options)
            lines = [f"bash -e{options} -c {shlex.quote(fail + inner)}"]
        needs: list[Line] = [f"need {name}" for name in self.needs]
        self.draft.script.add(
            [*needs, *lines], f"{self.step.kind}, {self.step.place}", self.step.only, run=True
        )

    def _statement(self, statement: Statement) -> None:
        text = statement.text
        if text.startswith("#"):
            self.lines += [Note(line.removeprefix("#").strip()) for line in text.split("\n")]
            return
        before, self_why = self.blocked, len(self.why)
        self._one(statement)
        if self.blocked == before:
            self.good += 1 if len(self.why) == self_why or self.lines else 0

    def _one(self, statement: Statement) -> None:
        words = _plain([expand(word, self.known) for word in statement.words])
        if len(statement.pipeline) > 1:
            self._pipeline(statement)
        elif not statement.pipeline:
            self._opaque(statement.text)
        elif not words:
            self._keep(statement.text)
            for word in statement.words:
                name, _, value = word.partition("=")
                self.known[name] = expand(value, self.known)
        elif not any(handle(words, statement.text) for handle in self._handlers()):
            if why := asks_network(words, statement.text, self.draft.files):
                self._block(statement.text, why)
            else:
                self._keep(statement.text)

    def _handlers(self) -> Sequence[Callable[[Sequence[str], str], bool]]:
        return (
            *(self._export, self._apt, self._other_system, self._pip, self._conda),
            *(self._fetch, self._git, self._installer, self._cleaning),
        )

    def _keep(self, text: str) -> None:
        for name in re.findall(r"/sources/([a-z0-9-]+)", text):
            self._need(name)
        for name, why in self.draft.missing.items():
            if f"/recipe/files/{name}" in text:
                self._block(text, f"{name}: {why}")
                return
        self.lines.append(text)

    def _need(self, name: str) -> None:
        """A source is read here: while it is not declared, this is as far as it goes."""
        source = self.draft.sources.get(name)
        if source is None or not source.whole:
            self.needs[name] = None
            self.why.append(f"the source {name} needs its sha256")

    def _block(self, text: str, why: str) -> None:
        self.blocked += 1
        self.why.append(why)
        self.lines += [Note(f"Not translated: {why}."), *notes(text), Halt(self.step.place, why)]

    def _opaque(self, text: str) -> None:
        if re.search(r"\bconda\b.*\bhook\b|/conda\.sh\b", text):
            return
        if why := asks_network((), text, self.draft.files):
            self._block(text, f"{why}, within a loop, a condition or the like")
        else:
            self._keep(text)

    def _pipeline(self, statement: Statement) -> None:
        first = _plain([expand(word, self.known) for word in statement.pipeline[0]])
        last = _plain([expand(word, self.known) for word in statement.pipeline[-1]])
        got = fetches(first) if first else None
        if got and len(got) == 1 and not got[0].target:
            if _CONDA_INSTALLER.search(got[0].url):
                self.draft.conda_wanted = True
            elif path := self._source(got[0]):
                rest = " | ".join(programs(statement.text)[1:])
                several = "|" in rest or path.endswith("*")
                self.lines.append(f"cat {path} | {rest}" if several else f"{rest} <{path}")
            else:
                self._block(statement.text, "the address of a download is not known")
        elif first and first[0] in ("yes", "echo", "printf") and len(statement.pipeline) == 2 and last:
            text = programs(statement.text)[-1]
            if not any(handle(last, text) for handle in (self._apt, self._pip, self._conda)):
                self._opaque(statement.text)
        else:
            self._opaque(statement.text)

    def _export(self, words: Sequence[str], text: str) -> bool:
        if words[0] not in ("export", "declare"):
            return False
        for word in words[1:]:
            name, sign, value = word.partition("=")
            if sign and "$" not in value and name != "PATH":
                self.known[name] = value
        self._keep(text)
        return True

    def _apt(self, words: Sequence[str], text: str) -> bool:
        asked = apt_of(words)
        if asked is None:
            return False
        if asked.action in ("install", "reinstall", "build-dep", "satisfy"):
            self.why += add_apt(self.draft, asked.names, self.step.only)
            if asked.files:
                self.lines.append(Note(f"Was: {text}"))
                self._keep(f"dpkg --install {' '.join(asked.files)}")
                self.why.append("packages from files: apt does not bring what those need")
            if asked.action != "install":
                self._block(text, f"apt {asked.action}: name the packages under inputs.apt")
        return True

    def _other_system(self, words: Sequence[str], text: str) -> bool:
        if words[0].rpartition("/")[2] not in OTHER_SYSTEMS:
            return False
        if any(word in ("install", "add", "groupinstall", "localinstall") for word in words[1:]):
            self._block(
                text, f"{words[0]} installs packages of another distribution: find their names in Debian"
            )
        return True

    def _pip(self, words: Sequence[str], text: str) -> bool:
        asked = pip_of(words)
        if asked is None:
            return does_of_pip(words) in ("check", "list", "freeze", "cache", "config", "show")
        left = add_pip(self.draft, asked, self.step.only)
        guessed = [why for why in left if why.endswith("is guessed")]
        self.why += guessed
        if blocking := [why for why in left if why not in guessed]:
            self._block(text, "; ".join(blocking))
            self.good += len(asked.packages) > len(blocking)
        return True

    def _conda(self, words: Sequence[str], text: str) -> bool:
        if words[0] in (".", "source") and len(words) > 1:
            return bool(re.search(r"(activate|conda\.sh)$", words[1])) and "venv" not in words[1]
        asked = conda_of(words)
        if asked is None:
            return words[0].rpartition("/")[2] in CONDA
        if asked.action == "run" and asked.rest:
            if not any(handle(asked.rest, text) for handle in (self._pip, self._conda)):
                self._keep(text)
            return True
        if asked.action == "config":
            self._channels(asked.rest)
        elif asked.action in ("install", "create", "update", "env create", "env update"):
            left = add_conda(self.draft, asked, self.step.only)
            if left:
                self._block(text, "; ".join(left))
        return True

    def _channels(self, words: Sequence[str]) -> None:
        for at, word in enumerate(words[:-2]):
            if word in ("--add", "--prepend", "--append") and words[at + 1] == "channels":
                self.why += add_channel(self.draft, words[at + 2], self.step.only)

    def _fetch(self, words: Sequence[str], text: str) -> bool:
        got = fetches(words)
        if got is None:
            return False
        if any(each.target.startswith("/etc/apt/") for each in got):
            self._block(text, ANOTHER_ARCHIVE)
            return True
        for each in got:
            if _CONDA_INSTALLER.search(each.url):
                self.draft.conda_wanted = True
                self.installers |= {each.target, each.target.rpartition("/")[2]}
            elif path := self._source(each):
                target = each.target or file_of(each.url)
                self.lines.append(f"cp {path} {word_of_shell(target)}")
            else:
                self._block(text, "the address of a download is not known")
                break
        return True

    def _source(self, fetch: Fetch) -> str:
        """Where a download stands as a source; nothing where its address is not known."""
        plain = self.draft.resolved(fetch.url)
        if "://" not in plain or not fits(SourceUrl, plain):
            return ""
        name = next((n for n, s in self.draft.sources.items() if s.url == fetch.url), "")
        if not name:
            name = self.draft.free_source(name_of_source(plain, fetch.target))
            source = SourceDraft(fetch.url, only=self.step.only)
            if _MOVES.search(plain):
                source.hints["this address may give another file one day: find one of a release"] = None
            self.draft.sources[name] = source
        self._need(name)
        return source_path(name, plain)

    def _git(self, words: Sequence[str], text: str) -> bool:
        if words[0].rpartition("/")[2] != "git":
            return False
        clone = clone_of(words)
        if clone:
            return self._clone(clone, text)
        rest = list(words[1:])
        while rest and rest[0] in ("-C", "-c"):
            rest = rest[2:]
        action, given = (
            (rest[0], [word for word in rest[1:] if not word.startswith("-")]) if rest else ("", [])
        )
        source = self._cloned(words)
        if action in ("checkout", "switch", "reset") and given and source:
            ref = self.draft.resolved(given[-1])
            if fits(GitCommit, ref):
                source.commit = ref
                self.needs = {name: None for name in self.needs if self.draft.sources.get(name) is not source}
                self.why = [why for why in self.why if why != f"the commit of {source.url} is to be found"]
            else:
                source.ref = ref
        elif action in ("config", "init") or (action == "lfs" and given[:1] == ["install"]):
            pass
        elif action == "apply":
            self._keep(text)
        else:
            self._block(text, f"git {action}: sources have no history, and install.sh no network")
        return True

    def _cloned(self, words: Sequence[str]) -> SourceDraft | None:
        folder = words[words.index("-C") + 1] if "-C" in words[:-1] else ""
        named = [source for target, source in self.clones if folder and target.endswith(folder.rstrip("/"))]
        last = [source for _, source in self.clones] or [s for s in self.draft.sources.values() if s.git]
        found = named or last
        return found[-1] if found else None

    def _clone(self, clone: Clone, text: str) -> bool:
        if not fits(GitUrl, self.draft.resolved(clone.url)):
            self._block(text, "the address of a repository is not known")
            return True
        name = next((n for n, s in self.draft.sources.items() if s.url == clone.url), "")
        if not name:
            called = slug(clone.url.rpartition("/")[2].removesuffix(".git"), "code", most=40)
            name = self.draft.free_source(called)
            self.draft.sources[name] = SourceDraft(clone.url, git=True, only=self.step.only)
        source = self.draft.sources[name]
        ref = self.draft.resolved(clone.ref)
        if ref:
            source.ref = source.ref or ref
        if clone.submodules:
            source.hints["its submodules were cloned too: each is a source of its own"] = None
            self.why.append("submodules")
        self.clones.append((clone.target, source))
        self.needs[name] = None
        self.why.append(f"the commit of {source.url} is to be found")
        target = clone.target
        word = word_of_shell(target)
        if target not in (".", "./"):
            self.lines.append(f"mkdir -p {word}")
        self.lines.append(f"cp -R /sources/{name}/. {word}")
        return True

    def _installer(self, words: Sequence[str], text: str) -> bool:
        """The installer of conda, which is here already: what is done with it."""
        given = [word for word in words[1:] if not word.startswith("-")]
        is_script = any(_CONDA_INSTALLER.search(word) or word in self.installers for word in words[:2])
        if (words[0].rpartition("/")[2] in ("bash", "sh") and is_script) or words[0] in self.installers:
            if "-p" in words[:-1]:
                self.move_conda(words[words.index("-p") + 1])
            self.draft.conda_wanted = True
            return True
        if words[0] in ("rm", "chmod") and given:
            files = given[1:] if words[0] == "chmod" else given
            return bool(self.installers) and all(file in self.installers for file in files)
        return False

    def move_conda(self, prefix: str) -> None:
        """What stood at a prefix of conda's stands in /opt/conda here."""
        for form in {prefix.rstrip("/"), self.draft.resolved(prefix).rstrip("/")} - {"/opt/conda", ""}:
            self.draft.move(form, "/opt/conda")

    def _cleaning(self, words: Sequence[str], text: str) -> bool:
        given = [word for word in words[1:] if not word.startswith("-")]
        if words[0] == "sync" and not given:
            return True
        if words[0] in ("add-apt-repository", "apt-add-repository"):
            return bool({"universe", "multiverse", "main"} & set(given))  # Debian has no such parts
        return words[0] == "rm" and bool(given) and all(map(is_cache, given))


def _plain(words: Sequence[str]) -> list[str]:
    """Without what stands before the program: variables, sudo."""
    at = 0
    while at < len(words) and (
        is_assignment(words[at]) or words[at] in ("sudo", "-E", "-H", "command", "env")
    ):
        at += 1
    return list(words[at:])


def _is_code(line: Line) -> bool:
    return not isinstance(line, Note)
