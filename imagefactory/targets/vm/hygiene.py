"""What a finished disk must not hold, each a check of its own, which reads it without booting."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from imagefactory.guest import DiskReader

Check = Callable[[DiskReader], str]
"""Says what is wrong on a disk, or nothing."""
_SHOWN = 5
_LEFT = ("/var/lib/cloud/*", "/run/cloud-init*")
_HOST_KEYS = ("/etc/ssh/ssh_host_*", "/etc/xrdp/*.pem", "/etc/xrdp/rsakeys.ini", "/etc/ssl/private/*")
_LOGS = ("/var/log/*", "/var/crash/*", "/var/lib/systemd/coredump/*")
_APT = ("/var/lib/apt/lists/*", "/var/cache/apt/*.bin", "/var/cache/apt/archives/*.deb")
_HISTORIES = ("*/.bash_history", "*/.python_history", "*/.lesshst", "*/.wget-hsts", "*/.viminfo")
_PACKER = ("*/packer-*", "/tmp/*", "/var/tmp/*", "/imagefactory-*", "/var/lib/imagefactory/load*")  # noqa: S108


def _found(disk: DiskReader, *patterns: str) -> str:
    """Files that match, in words."""
    paths = [path for pattern in patterns for path in disk.glob(pattern) if not _is_folder(disk, path)]
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    return ", ".join(map(ascii, paths[:_SHOWN])) + more


def _is_folder(disk: DiskReader, path: str) -> bool:
    return disk.entries[path].mode & 0o170000 == 0o040000


def enabled(disk: DiskReader) -> set[str]:
    """What systemd starts there by itself, as people enable it: links in /etc/systemd."""
    links = disk.glob("/etc/systemd/*.wants/*") + disk.glob("/etc/systemd/*.requires/*")
    return {path.rpartition("/")[2] for path in links}


def more_services(disk: DiskReader, usual: set[str]) -> str:
    """Those that are not ``usual``, in words."""
    more = sorted(enabled(disk) - usual)
    return f"enabled beside those of the VM base: {', '.join(map(ascii, more))}" if more else ""


def _host_keys(disk: DiskReader) -> str:
    return _found(disk, *_HOST_KEYS)


def _machine_id(disk: DiskReader) -> str:
    size = disk.entries["/etc/machine-id"].size if disk.exists("/etc/machine-id") else -1
    if size:
        return "/etc/machine-id is not there" if size < 0 else "/etc/machine-id is not empty"
    return _found(
        disk, "/var/lib/dbus/machine-id", "/var/lib/systemd/random-seed", "/var/lib/systemd/credential.secret"
    )


def _cloud_state(disk: DiskReader) -> str:
    return _found(disk, *_LEFT)


def _resolver(disk: DiskReader) -> str:
    links = disk.links(["/etc/resolv.conf"]) if disk.exists("/etc/resolv.conf") else {}
    wrong = [to for to in links.values() if not to.endswith("/run/systemd/resolve/stub-resolv.conf")]
    return (
        f"/etc/resolv.conf leads to {wrong[0]}" if wrong else _found(disk, "/etc/netplan/50-cloud-init.yaml")
    )


def _logs(disk: DiskReader) -> str:
    return _found(disk, *_LOGS)


def _keys(disk: DiskReader) -> str:
    return _found(disk, "/root/.ssh/*", "/home/*/.ssh/*", "/etc/sudoers.d/90-cloud-init-users")


def _histories(disk: DiskReader) -> str:
    return _found(disk, *_HISTORIES)


def _apt_lists(disk: DiskReader) -> str:
    return _found(disk, *_APT)


def _leftovers(disk: DiskReader) -> str:
    return _found(disk, *_PACKER)


def _passwords(disk: DiskReader) -> str:
    return with_password(disk.read("/etc/shadow").decode("utf-8", "replace"))


def with_password(shadow: str) -> str:
    """The accounts in an ``/etc/shadow`` that a password, or none, lets in, in words."""
    accounts = (line.split(":")[:2] for line in shadow.splitlines() if line)
    able = [name for name, word in accounts if not word.startswith(("!", "*"))]
    return f"with a password, or none at all: {', '.join(able)}" if able else ""


def _trimmed(disk: DiskReader) -> str:
    space = disk.space
    dirty = space.dirty * 100 // max(space.free, 1)
    return f"{dirty} % of its free space is not empty" if dirty > 2 else ""


CHECKS: Mapping[str, Check] = MappingProxyType(
    {
        "no-host-keys": _host_keys,
        "no-machine-id": _machine_id,
        "no-cloud-state": _cloud_state,
        "resolver": _resolver,
        "no-logs": _logs,
        "no-keys": _keys,
        "no-histories": _histories,
        "no-apt-lists": _apt_lists,
        "no-leftovers": _leftovers,
        "no-passwords-on-disk": _passwords,
        "free-space-trimmed": _trimmed,
    }
)
