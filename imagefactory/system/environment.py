"""The environment of programs that the factory starts: what they need of the caller's, by name, and no more.

Whatever else the caller has there, such as passwords, tokens, and proxies with passwords, stays with the
factory. A program gets proxies and certificates where the call that starts it names them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

_NAMES = frozenset(
    (
        # Who and where the caller is.
        *("HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TERM", "TZ", "TMPDIR"),
        # Where programs, their libraries and our own Python code are, as after `module load`.
        *("PATH", "LD_LIBRARY_PATH", "PYTHONPATH"),
        # Where users keep git's, Docker's and Apptainer's settings, and the sockets of rootless engines.
        *("XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"),
        # Which engine and which builder: names of files, addresses and contexts. DOCKER_AUTH_CONFIG and
        # DOCKER_CUSTOM_HEADERS hold logins.
        *("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY"),
        *("DOCKER_TLS", "DOCKER_API_VERSION", "BUILDX_CONFIG", "BUILDX_BUILDER"),
        # Where Apptainer and SingularityCE work and keep files. Their other variables hold logins, or change
        # how an image is run.
        *("APPTAINER_TMPDIR", "APPTAINER_CACHEDIR", "APPTAINER_CONFIGDIR"),
        *("SINGULARITY_TMPDIR", "SINGULARITY_CACHEDIR", "SINGULARITY_CONFIGDIR"),
    )
)
_AGENT = "SSH_AUTH_SOCK"  # logs in wherever the caller may: for who reaches the engine over ssh


def child_environment(named: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a program that is given ``named``."""
    over_ssh = os.environ.get("DOCKER_HOST", "").startswith("ssh://")
    passed = {
        name: value
        for name, value in os.environ.items()
        if name in _NAMES or name.startswith("LC_") or (name == _AGENT and over_ssh)
    }
    return {**passed, **(named or {})}
