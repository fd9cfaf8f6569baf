# ruff: noqa: ANN001, ANN201, T201
"""JupyterLab starts, on the loopback address only, and answers only whoever has its token."""

import re
import subprocess
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

ADDRESS = re.compile(r"http://127\.0\.0\.1:8888/lab\?token=([0-9a-f]{48})")


def status(path):
    """What the server answers; it names its address a moment before it listens there."""
    for _ in range(60):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:8888{path}", timeout=30) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code
        except urllib.error.URLError:
            time.sleep(0.5)
    raise SystemExit("JupyterLab does not answer")


def listening():
    """Addresses on which something in this container listens at port 8888, as the kernel writes them."""
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        path = Path(table)
        for line in path.read_text().splitlines()[1:] if path.exists() else []:
            address, port = line.split()[1].split(":")
            if port == f"{8888:04X}" and line.split()[3] == "0A":
                found.add(address)
    return found


server = subprocess.Popen(["notebook"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
# A server that says nothing more is ended, and the loop below with it.
watch = threading.Timer(90, server.kill)
watch.start()
said = []
try:
    for line in server.stdout:
        said.append(line)
        if token := ADDRESS.search(line):
            break
    else:
        raise SystemExit("JupyterLab named no address:\n" + "".join(said[-40:]))
    print(f"without the token: {status('/api/contents')}")
    print(f"with the token: {status(f'/api/contents?token={token[1]}')}")
    if listening() == {"0100007F"}:
        print("listens on 127.0.0.1 only")
finally:
    watch.cancel()
    server.terminate()
    server.wait(timeout=20)
