"""The real OpenStack client, loaded once: each call of it is a fork, so that a test may call it often.

Run with the Python that has python-openstackclient: warm_client.py SOCKET. The program whose text is
``SHIM`` takes the client's place on PATH; it hands over its words, environment and outputs, and ends as the
client did.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import select
import signal
import socket
import sys

SHIM = """\
#!{python} -IS
import json, os, socket, sys
client = socket.socket(socket.AF_UNIX)
client.connect({socket!r})
call = json.dumps([sys.argv[1:], dict(os.environ), os.getcwd()]).encode()
socket.send_fds(client, [call + b"\\n"], [0, 1, 2])
sys.exit(int(client.recv(16) or b"1"))
"""
_MODULES = (
    "openstackclient.shell",
    "openstackclient.compute.client",
    "openstackclient.compute.v2.flavor",
    "openstackclient.compute.v2.keypair",
    "openstackclient.compute.v2.server",
    "openstackclient.compute.v2.server_volume",
    "openstackclient.image.client",
    "openstackclient.image.v2.image",
    "openstackclient.network.client",
    "openstackclient.network.v2.floating_ip",
    "openstackclient.network.v2.network",
    "openstackclient.network.v2.security_group",
    "openstackclient.network.v2.security_group_rule",
    "openstackclient.volume.client",
    "openstackclient.volume.v3.volume",
    "openstack.connection",
)


def _serve(place: str) -> None:
    for name in _MODULES:
        with contextlib.suppress(
            ImportError
        ):  # releases differ; what is not loaded now is loaded when it is used
            importlib.import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    server = socket.socket(socket.AF_UNIX)
    server.bind(place)
    server.listen(8)
    parent = os.getppid()
    while os.getppid() == parent:  # and no longer than whoever started us
        if not select.select([server], [], [], 1)[0]:
            continue
        call, _ = server.accept()
        if os.fork() == 0:
            server.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _answer(call)
        call.close()


def _answer(call: socket.socket) -> None:
    message, outputs, *_ = socket.recv_fds(call, 1 << 20, 3)
    while message and not message.endswith(b"\n"):
        message += call.recv(1 << 20)
    if not message:  # somebody looked whether we are here
        os._exit(0)
    words, environment, folder = json.loads(message)
    for number, output in enumerate(outputs):
        os.dup2(output, number)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    status = 1
    try:
        status = importlib.import_module("openstackclient.shell").main(words) or 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        with contextlib.suppress(OSError):
            call.sendall(str(status).encode())
        os._exit(0)


if __name__ == "__main__":
    _serve(sys.argv[1])
