"""JupyterLab listens on loopback alone, lets nobody in without its token, and starts Python."""
# ruff: noqa: T201

import json
import re
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

from jupyter_client import BlockingKernelClient
from jupyter_core.paths import jupyter_runtime_dir

LOOPBACK = "0100007F"
LISTENING = "0A"
VERSION = "import deeplabcut; print(deeplabcut.__version__)"


def ask(address: str, token: str = "", method: str = "GET") -> tuple[int, bytes]:
    """The answer; the server may name its address a moment before it listens there."""
    headers = {"Authorization": f"token {token}"} if token else {}
    request = urllib.request.Request(address, headers=headers, method=method)  # noqa: S310
    for _ in range(60):
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, b""
        except urllib.error.URLError:
            time.sleep(0.5)
    raise SystemExit("JupyterLab does not answer")


def start() -> tuple[subprocess.Popen, str, str]:
    """The server, its address and its token, which it prints."""
    log = Path("notebook.log")
    with log.open("wb") as out:
        server = subprocess.Popen(["notebook"], stdout=out, stderr=subprocess.STDOUT)
    for _ in range(300):
        found = re.search(r"(http://127\.0\.0\.1:\d+)/lab\?token=(\w+)", log.read_text(errors="replace"))
        if found:
            return server, found[1], found[2]
        if server.poll() is not None:
            break
        time.sleep(0.2)
    raise SystemExit(f"notebook did not start:\n{log.read_text(errors='replace')}")


def listening() -> set[str]:
    """The addresses at which something listens, as the kernel writes them."""
    tables = [Path(f"/proc/net/{name}").read_text() for name in ("tcp", "tcp6")]
    rows = [line.split() for table in tables for line in table.splitlines()[1:]]
    return {row[1].partition(":")[0] for row in rows if row[3] == LISTENING}


def wait_for(client: BlockingKernelClient) -> None:
    """Until the kernel answers. A client takes one that is only slow to start for dead."""
    for _ in range(60):
        try:
            client.wait_for_ready(timeout=10)
        except RuntimeError:
            time.sleep(1)
        else:
            return
    raise SystemExit("the kernel does not answer")


def run_in_kernel(address: str, token: str, code: str) -> str:
    """What ``code`` prints in a kernel that the server starts."""
    kernel = json.loads(ask(f"{address}/api/kernels", token, "POST")[1])["id"]
    client = BlockingKernelClient(connection_file=f"{jupyter_runtime_dir()}/kernel-{kernel}.json")
    client.load_connection_file()
    client.start_channels()
    printed: list[str] = []
    try:
        wait_for(client)
        client.execute_interactive(
            code,
            timeout=120,
            output_hook=lambda m: (
                printed.append(m["content"]["text"]) if m["content"].get("name") == "stdout" else None
            ),
        )
    finally:
        client.stop_channels()
    return "".join(printed).strip()


def main() -> None:
    server, address, token = start()
    try:
        print("length of the token:", len(token))
        print("status without the token:", ask(f"{address}/api/kernels")[0])
        print("listens on loopback alone:", listening() == {LOOPBACK})
        print("status with the token:", ask(f"{address}/api/kernels", token)[0])
        print("the page is JupyterLab:", b"<title>JupyterLab</title>" in ask(f"{address}/lab", token)[1])
        print("printed by a kernel:", run_in_kernel(address, token, VERSION))
    finally:
        server.terminate()
        server.wait(20)
    print("tokens differ:", start_again() != token)


def start_again() -> str:
    server, _, token = start()
    server.terminate()
    server.wait(20)
    return token


if __name__ == "__main__":
    main()
