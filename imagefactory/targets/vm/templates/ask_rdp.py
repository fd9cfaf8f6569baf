"""Asks this machine's remote desktop how it speaks (MS-RDPBCGR, 2.2.1.1), and says a line for each answer."""

import hashlib
import socket
import ssl
import time
from pathlib import Path

CERTIFICATE = Path("/etc/xrdp/imagefactory/cert.pem")
PLAIN, TLS = 0, 1
HEAD = bytes.fromhex("03000013 0ee00000000000 01000800")
FAILED = 3


def asked(protocol: int) -> tuple[socket.socket, bytes]:
    """A connection after the request for a protocol, and the answer to that."""
    link = socket.create_connection(("127.0.0.1", 3389), timeout=60)
    link.sendall(HEAD + protocol.to_bytes(4, "little"))
    return link, link.recv(64)


link, answer = asked(PLAIN)
refused = len(answer) < 12 or answer[11] == FAILED
link.close()
print(f"plain={'refused' if refused else answer.hex()}")  # noqa: T201

link, answer = asked(TLS)
assert answer[11:12] == b"\2", answer.hex()
assert answer[15] == TLS, answer.hex()
settings = ssl.create_default_context()
settings.check_hostname, settings.verify_mode = False, ssl.CERT_NONE
with settings.wrap_socket(link) as spoken:
    shown = spoken.getpeercert(binary_form=True) or b""
ours = ssl.PEM_cert_to_DER_cert(CERTIFICATE.read_text())
print(f"tls={hashlib.sha256(shown).hexdigest()}")  # noqa: T201
print(f"certificate={hashlib.sha256(ours).hexdigest()}")  # noqa: T201
started = time.time() - float(Path("/proc/uptime").read_text().split()[0])
print(f"age={'new' if CERTIFICATE.stat().st_mtime > started - 60 else 'old'}")  # noqa: T201
