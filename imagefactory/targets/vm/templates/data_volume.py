#!/usr/bin/python3 -I
"""data-volume: mount the data volume at /data, and what of a network the cloud's metadata name.

Usage: data-volume [--format | --shares]

Without a word it mounts the volume, and does nothing where it is mounted or none is there. --format gives a
volume that holds nothing a file system first. --shares mounts shares of NFS servers and CVMFS repositories,
and tries again until all are there.

A volume is given a file system only where it holds nothing at all, and somebody asked for it: here, in
/etc/default/data-volume (FORMAT_IF_EMPTY=yes), or in the server's metadata. What is on a volume is never
formatted. The server's metadata, each of which may be left out:

  imagefactory_volume   which volume: its UUID in the cloud, or a device such as /dev/vdb; "none" for none
  imagefactory_format   "yes": give an empty one a file system
  imagefactory_nfs      shares of NFS servers (version 4), such as nas.example.org:/projects/data; several
                        have spaces between, and each is mounted below /shares
  imagefactory_cvmfs    CVMFS repositories, such as software.eessi.io, where CVMFS's client is installed
"""

import fcntl
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

TOLD = Path("/run/cloud-init/instance-data.json")
SETTINGS = Path("/etc/default/data-volume")
NOTES = Path("/run/imagefactory/notes")
DATA = Path("/data")
SHARES = Path("/shares")
REPOSITORIES = Path("/cvmfs")
CVMFS_CLIENT = Path("/sbin/mount.cvmfs")
NFS_CLIENT = Path("/sbin/mount.nfs4")
OWNER = 1000  # the cloud's user, the first one that is made

FILE_SYSTEMS = ("ext4", "ext3", "ext2", "xfs", "btrfs")
SAFE = "nodev,nosuid"
PATIENCE = 60  # seconds for a server to answer
PAUSES = (15, 30, 60)  # seconds until it is asked again
_MIB = 1 << 20

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
DEVICE = re.compile(r"/dev/[a-z][a-z0-9]{0,31}")
_HOST = r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?"
NFS = re.compile(rf"({_HOST}|\[[0-9a-fA-F:]{{2,39}}\]):((?:/[A-Za-z0-9_][A-Za-z0-9._-]*)+)")
CVMFS = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}\.)+[a-z]{2,63}")


class Trouble(Exception):
    """What people have to look at."""


def main(words: list[str]) -> int:
    """Do what the words say; the exit status."""
    if words == ["--shares"]:
        return shares(told(), time.sleep)
    if words not in ([], ["--format"]):
        write((__doc__ or "").strip())
        return 0 if words == ["--help"] else 2
    if os.geteuid():
        say("data volume", "only root may do that: put sudo before it")
        return 2
    with Path("/run/data-volume.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            volume({**told(), **set_here(SETTINGS)}, asked=bool(words))
        except Trouble as trouble:
            say("data volume", str(trouble))
            note("volume", f"data volume: {trouble}")
            return 1
    return 0


def told() -> dict[str, str]:
    """The metadata that are ours, by name: what the cloud was told when the server was started."""
    try:
        meta = json.loads(TOLD.read_text(encoding="utf-8"))["ds"]["meta_data"]["meta"]
    except (OSError, ValueError, LookupError, TypeError):
        return {}
    if not isinstance(meta, dict):
        return {}
    ours = {name: value for name, value in meta.items() if str(name).startswith("imagefactory_")}
    return {name: value.strip() for name, value in ours.items() if isinstance(value, str)}


def set_here(file: Path) -> dict[str, str]:
    """The settings of this machine, which go before: lines such as DEVICE=/dev/vdc, never run."""
    names = {"FORMAT_IF_EMPTY": "imagefactory_format", "DEVICE": "imagefactory_volume"}
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    pairs = (line.partition("=") for line in lines)
    found = {
        names[key.strip()]: value.strip().strip("'\"") for key, _, value in pairs if key.strip() in names
    }
    return {name: value for name, value in found.items() if value}


def volume(settings: Mapping[str, str], *, asked: bool) -> None:
    """Mount the data volume. Raises Trouble."""
    note("volume", "")
    named = settings.get("imagefactory_volume", "")
    if os.path.ismount(DATA) or named == "none":
        return
    disk = chosen(named)
    if not disk:
        return
    kind, fresh = probed("TYPE", disk), False
    if not kind:
        if not is_empty(disk):
            raise Trouble(f"{disk} holds something that is no file system: it is left as it is")
        if not asked and settings.get("imagefactory_format") != "yes":
            text = f"{disk} is empty: to make a file system on it, sudo data-volume --format"
            say("data volume", text)
            note("volume", f"data volume: {text}")
            return
        say("data volume", f"making a file system on {disk}, which is empty")
        done(["mkfs.ext4", "-q", "-L", "data", disk], f"a file system on {disk}")
        kind, fresh = "ext4", True
    if kind not in FILE_SYSTEMS:
        raise Trouble(f"{disk} holds {kind}, which is none of {', '.join(FILE_SYSTEMS)}: it is left as it is")
    DATA.mkdir(exist_ok=True)
    done(["mount", "-t", kind, "-o", SAFE, disk, str(DATA)], f"mounting {disk}")
    if fresh:
        os.chown(DATA, OWNER, OWNER)
    say("data volume", f"{disk} is mounted at {DATA}")


def chosen(named: str) -> str:
    """The disk that is the volume, or nothing. Raises Trouble where it could be several, or is in use."""
    if named and not (UUID.fullmatch(named.lower()) or DEVICE.fullmatch(named)):
        raise Trouble(f"{named!a} is neither a volume's UUID nor a device such as /dev/vdb")
    free = free_disks()
    if UUID.fullmatch(named.lower()):
        # What a disk tells of itself may have room for the beginning of it alone.
        own = {
            disk for disk, serial in free.items() if len(serial) >= 20 and named.lower().startswith(serial)
        }
        free = {disk: serial for disk, serial in free.items() if disk in own}
    elif named:
        if named not in free and Path(named).exists():
            raise Trouble(f"{named} has partitions, is in use, or can't be written to: it is left as it is")
        free = {disk: serial for disk, serial in free.items() if disk == named}
    labelled = [disk for disk in free if probed("LABEL", disk) == "data"]
    fitting = labelled if len(labelled) == 1 else [*free]
    if len(fitting) > 1:
        raise Trouble(
            f"it could be {' or '.join(sorted(fitting))}: name one as DEVICE in {SETTINGS}, "
            "or in the server's metadata"
        )
    return fitting[0] if fitting else ""


def free_disks() -> dict[str, str]:
    """Disks that nothing uses, with what they say of themselves: without partitions, not mounted, and not
    those that clouds bring.
    """
    listed = output(["lsblk", "--json", "--paths", "--output", "NAME,TYPE,RO,MOUNTPOINT,SERIAL"])
    free = {}
    for each in json.loads(listed)["blockdevices"]:
        name, used = each["name"], each.get("children") or each["mountpoint"]
        if each["type"] != "disk" or used or str(each["ro"]) in ("1", "True"):
            continue
        if re.match(r"/dev/(fd|zram|nbd)", name):
            continue
        if not re.match(r"ephemeral|config-2$|cidata$|CIDATA$", probed("LABEL", name)):
            free[name] = (each["serial"] or "").lower()
    return free


def is_empty(disk: str) -> bool:
    """Whether a disk holds nothing: no signature of anything, and zeros at its beginning, at its end, and at
    a thousand places between.
    """
    if done(["wipefs", "--noheadings", disk], f"reading {disk}"):
        return False
    with Path(disk).open("rb", buffering=0) as content:
        size = content.seek(0, os.SEEK_END)
        begin, end = range(0, min(size, 4 * _MIB), _MIB), range(max(0, size - _MIB), size, _MIB)
        between = range(0, size, max(4096, size // 1000 // 4096 * 4096))
        pieces = [*((each, _MIB) for each in (*begin, *end)), *((each, 4096) for each in between)]
        for place, length in pieces:
            content.seek(place)
            if any(content.read(length)):
                return False
    return True


def probed(what: str, disk: str) -> str:
    """What blkid finds on a disk."""
    return output(["blkid", "-p", "-o", "value", "-s", what, disk])


def shares(settings: Mapping[str, str], wait: Callable[[float], None]) -> int:
    """Mount what is named of a network, as soon as it answers; the exit status."""
    left = list(mounts(settings))
    pauses = list(PAUSES)
    first = True
    while left:
        missing = []
        for what, place, words in left:
            why = mounted(place, words)
            if not why:
                say("shares", f"{what} is mounted at {place}")
            else:
                missing.append((what, place, words))
                if first:
                    say("shares", f"{what} is not mounted: {why}; it is tried again")
        note("shares", "\n".join(f"{what} is not mounted yet" for what, _, _ in missing))
        left, first = missing, False
        if left:
            wait(pauses[0])
            pauses = pauses[1:] or pauses
    return 0


def mounts(settings: Mapping[str, str]) -> Iterator[tuple[str, Path, list[str]]]:
    """What is to be mounted: its name, its place, and the command but for the place."""
    taken: dict[Path, str] = {}
    for name in settings.get("imagefactory_nfs", "").split():
        match = NFS.fullmatch(name)
        place = SHARES / name.rpartition("/")[2]
        if not match:
            say("shares", f"{name!a} is no share of an NFS server, such as nas.example.org:/projects/data")
        elif not NFS_CLIENT.exists():
            say("shares", f"{name} is not mounted: this machine has no client of NFS (nfs-common)")
        elif place in taken:
            say("shares", f"{name} is not mounted: {taken[place]} has its place, {place}")
        else:
            taken[place] = name
            # Who waits for a server that went away waits, and loses nothing; asking for the first time ends.
            options = f"{SAFE},retry=0,timeo=100,retrans=2"
            yield name, place, ["mount", "-t", "nfs4", "-o", options, name]
    for name in settings.get("imagefactory_cvmfs", "").split():
        if not CVMFS.fullmatch(name):
            say("shares", f"{name!a} is no CVMFS repository, such as software.eessi.io")
        elif not CVMFS_CLIENT.exists():
            say("shares", f"{name} is not mounted: CVMFS's client is not on this machine (Debian has none)")
        else:
            yield name, REPOSITORIES / name, ["mount", "-t", "cvmfs", "-o", SAFE, name]


def mounted(place: Path, words: list[str]) -> str:
    """Mount it there; why not, in words."""
    if os.path.ismount(place):
        return ""
    place.mkdir(parents=True, exist_ok=True)
    try:
        ended = subprocess.run(
            [*words, str(place)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {PATIENCE} s"
    said = ended.stdout.decode("utf-8", "replace").strip().splitlines()
    return "" if ended.returncode == 0 else (said[-1] if said else f"status {ended.returncode}")


def output(words: list[str]) -> str:
    """What a command writes, where it ends well."""
    ended = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    return ended.stdout.decode("utf-8", "replace").strip() if ended.returncode == 0 else ""


def done(words: list[str], what: str) -> str:
    """Run a command; what it writes. Raises Trouble where it fails."""
    ended = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if ended.returncode:
        why = ended.stderr.decode("utf-8", "replace").strip().splitlines()
        raise Trouble(f"{what} failed: {why[-1] if why else f'status {ended.returncode}'}")
    return ended.stdout.decode("utf-8", "replace").strip()


def note(name: str, text: str) -> None:
    """What whoever logs in is told; nothing where there is no text."""
    NOTES.mkdir(parents=True, exist_ok=True)
    if text:
        (NOTES / name).write_text(f"{text}\n", encoding="utf-8")
    else:
        (NOTES / name).unlink(missing_ok=True)


def say(about: str, text: str) -> None:
    """Tell the journal, or whoever started this."""
    write(f"{about}: {text}")


def write(text: str) -> None:
    """Write lines at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
