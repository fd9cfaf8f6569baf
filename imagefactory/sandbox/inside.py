"""The first program in a sandbox: it becomes nobody, sets bounds, and then is the program that was asked for.

    python -I -S inside.py SPEC WORD...

SPEC is JSON. ``answer`` is a file descriptor, which becomes 3. ``control`` is one end of a socket pair,
through which the other side gets a socket that listens on ``port`` here: nothing else leads out. ``begun``
is one that is written to when all is as it should be. ``user`` is the uid and gid to become; ``map`` the
first of ``count`` ids of the machine that are those from 0 on in a user namespace. ``root`` says that a
whole /proc is wanted. ``files``, ``processes`` are bounds: bytes of one file, and a number.

It runs with nothing but Python's standard library, which a sandbox always has.
"""

import ctypes
import json
import os
import resource
import socket
import struct
import sys
from pathlib import Path
from typing import Any

ANSWER = 3
_NEWNS, _NEWUSER, _NEWPID = 0x00020000, 0x10000000, 0x20000000  # sched.h
_DETACH = 2  # mount.h
_NO_NEW_PRIVILEGES = 38  # linux/prctl.h
_SET_SECCOMP, _FILTER = 22, 2  # linux/prctl.h, linux/seccomp.h
_ALLOW, _REFUSE, _UNKNOWN = 0x7FFF0000, 0x00050001, 0x00050026  # with EPERM, with ENOSYS
_LOAD, _EQUAL, _ANY, _RETURN = 0x20, 0x15, 0x45, 0x06  # linux/filter.h
# By machine (linux/audit.h, asm/unistd.h): its number; add_key, request_key, keyctl; unshare, clone; clone3.
_CALLS = {
    "x86_64": (0xC000003E, (248, 249, 250), (272, 56), 435),
    "aarch64": (0xC00000B7, (217, 218, 219), (97, 220), 435),
}
_MASKED = ("acpi", "bus", "irq", "scsi", "sys", "sysrq-trigger")


def main(spec: dict[str, Any], argv: list[str]) -> None:
    """Never returns."""
    for name in ("tmp", "home"):
        folder = Path("/job", name)
        folder.mkdir()
        folder.chmod(0o1777)  # for whoever it becomes
    if spec.get("control") is not None:
        _listen(spec["control"], spec["port"])
    if spec["answer"] is not None:
        os.dup2(spec["answer"], ANSWER)  # which is inherited
        if spec.get("user") or spec.get("map") is not None:
            # Some programs open it once more, as whoever they are then.
            os.fchown(ANSWER, *(spec.get("user") or (spec["map"], spec["map"])))
    for what, bound in (
        (resource.RLIMIT_FSIZE, spec["files"]),
        (resource.RLIMIT_NPROC, spec["processes"]),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (bound, bound))
    libc = ctypes.CDLL(None, use_errno=True)
    if spec.get("root"):
        # bwrap covers parts of /proc, and the kernel gives a new one only to who sees a whole one. What was
        # covered belongs to the machine's root, who is nobody here.
        for name in _MASKED:
            libc.umount2(f"/proc/{name}".encode(), _DETACH)
    if spec.get("map") is not None:
        _become_root(libc, spec["map"], spec["count"])
    elif spec.get("user"):
        uid, gid = spec["user"]
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    _filter(libc)
    os.write(spec["begun"], b".")
    os.close(spec["begun"])
    os.execvp(argv[0], argv)  # noqa: S606


def _filter(libc: ctypes.CDLL) -> None:
    """Refuse the kernel's keys, which are a user's and not a sandbox's, and one more user namespace, in which
    much more of the kernel can be reached.
    """
    libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    machine, keys, makers, clone3 = _CALLS[os.uname().machine]
    # Its fields: the call's number at 0, the machine's at 4, the first argument at 16 (linux/seccomp.h).
    program = [(_LOAD, 0, 0, 4), (_EQUAL, 1, 0, machine), (_RETURN, 0, 0, _REFUSE), (_LOAD, 0, 0, 0)]
    for call in keys:
        program += [(_EQUAL, 0, 1, call), (_RETURN, 0, 0, _REFUSE)]
    # Whose flags stand where a filter cannot look; without it, programs take clone.
    program += [(_EQUAL, 0, 1, clone3), (_RETURN, 0, 0, _UNKNOWN)]
    for call in makers:
        program += [(_EQUAL, 0, 4, call), (_LOAD, 0, 0, 16), (_ANY, 0, 1, _NEWUSER), (_RETURN, 0, 0, _REFUSE)]
        program += [(_LOAD, 0, 0, 0)]
    program += [(_RETURN, 0, 0, _ALLOW)]
    steps = b"".join(struct.pack("HBBI", *step) for step in program)
    buffer = ctypes.create_string_buffer(steps, len(steps))
    whole = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(program), ctypes.addressof(buffer)))
    if libc.prctl(_SET_SECCOMP, _FILTER, ctypes.byref(whole), 0, 0):
        raise OSError(ctypes.get_errno(), "the kernel takes no filter of system calls")


def _listen(control: int, port: int) -> None:
    with (
        socket.socket(fileno=control) as other,
        socket.create_server(("127.0.0.1", port), backlog=128) as own,
    ):
        socket.send_fds(other, [b"."], [own.fileno()])


def _become_root(libc: ctypes.CDLL, first: int, count: int) -> None:
    """Go on as root of a new user namespace, in new mount and process namespaces."""
    asks, asked = os.pipe()
    told, tells = os.pipe()
    child = os.fork()
    if child:
        os.read(asks, 1)
        for kind in ("uid", "gid"):
            Path(f"/proc/{child}/{kind}_map").write_text(f"0 {first} {count}\n")
        os.write(tells, b".")
        _end_as(child)
    if libc.unshare(_NEWUSER | _NEWNS | _NEWPID):
        raise OSError(ctypes.get_errno(), "no user namespace can be made")
    os.write(asked, b".")
    os.read(told, 1)
    for end in (asks, asked, told, tells):
        os.close(end)
    os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    if child := os.fork():  # the first process of the new process namespace
        _end_as(child)


def _end_as(child: int) -> None:
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    os._exit(code if code >= 0 else 128 - code)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), sys.argv[2:])
