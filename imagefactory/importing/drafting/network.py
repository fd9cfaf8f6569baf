"""Which commands ask a network, as install.sh can't."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from imagefactory.importing.drafting.draft import FileDraft

ANOTHER_ARCHIVE = "it adds an archive of packages, and those of the base image are all there are"
_PROGRAMS = frozenset(
    (
        *(
            "curl",
            "wget",
            "aria2c",
            "axel",
            "npm",
            "npx",
            "yarn",
            "pnpm",
            "gem",
            "cargo",
            "rustup",
            "svn",
            "hg",
        ),
        *(
            "osf",
            "datalad",
            "gdown",
            "aws",
            "gsutil",
            "rclone",
            "cpan",
            "cpanm",
            "luarocks",
            "poetry",
            "pipx",
        ),
        *("snap", "flatpak", "add-apt-repository", "apt-add-repository", "apt-key", "rsync", "scp", "sftp"),
        *("ftp", "lftp", "huggingface-cli", "kaggle", "dotnet", "mvn"),
    )
)
_MOVERS = ("cp", "install", "mv", "chmod", "chown", "ln", "rm", "cat", "sed", "touch", "mkdir", "test", "[")
_CALLS = re.compile(
    r"(?:^|[\s;&|({`])(?:sudo\s+)?(?:\S*/)?"
    r"(curl|wget|aria2c|pip3?\s+install|python3?\s+-m\s+pip|conda\s+(?:install|create)|mamba\s+(?:install|create)"
    r"|git\s+(?:clone|fetch|pull|submodule|lfs)|apt(?:-get)?\s+(?:-\S+\s+)*install|(?:yum|dnf)\s+(?:-\S+\s+)*install"
    r"|npm\s+\w+|osf|datalad|gdown|cargo\s+\w+|go\s+(?:get|install|mod)|add-apt-repository|apt-key)(?=[\s;)]|$)"
)
_CODE = re.compile(
    r"install\.packages|install_torch|install_keras|BiocManager::install|remotes::install|devtools::install|install_github|Pkg\.(?:add|clone|develop)"
    r"|urlretrieve|urlopen|requests\.get|from_pretrained|snapshot_download|download\.file|cpm_download"
)
_DOWNLOADS = re.compile(r"--?download(?:[_-]\w+)*\b|\bdownload_weights\b|--install-extension")
_CACHES = re.compile(
    r"/var/lib/apt/lists/?\*?|/var/cache/apt\S*|(?:~|/root|\$HOME|\$\{HOME\})/\.cache(?:/\S*)?|\S*/conda/pkgs/?\*?"
)


def asks_network(words: Sequence[str], text: str, files: Mapping[str, FileDraft]) -> str:
    """Why a command can't run without network; nothing where it looks as if it could."""
    why = "it asks a network, and install.sh has none"
    if "/etc/apt/sources.list" in text or "/etc/apt/trusted" in text or "/etc/yum.repos.d" in text:
        return ANOTHER_ARCHIVE
    if words and words[0].rpartition("/")[2] in _PROGRAMS:
        return why
    if words[:1] in (["docker"], ["singularity"], ["apptainer"]) and words[1:2] in (["pull"], ["build"]):
        return why
    if words and words[0].rpartition("/")[2] == "go" and words[1:2] in (["get"], ["install"], ["mod"]):
        return why
    if _CODE.search(text) or _DOWNLOADS.search(text):
        return why
    if not words and _CALLS.search(re.sub(r"'[^']*'", "", text)):
        return why
    given = {word.rpartition("/")[2] for word in words[1:]}
    for name, file in files.items():
        if name.rpartition("/")[2] in given and words[0].rpartition("/")[2] not in _MOVERS:
            inside = file.data.decode(errors="replace")
            if _CODE.search(inside) or _CALLS.search(inside):
                return f"{name} {why[3:]}"
    return ""


def is_cache(path: str) -> bool:
    """Whether a path is one where package managers keep what they downloaded."""
    return bool(_CACHES.fullmatch(path))
