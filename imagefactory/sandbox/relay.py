"""The one way out of a sandbox: a server on its loopback interface that asks upstreams for it.

It leads to the places that it was given, and nowhere else. Proxies, certificates and passwords stay on this
side, so that nothing in the sandbox has them in reach.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import socket
import threading
import urllib.parse
from collections.abc import Iterator

from imagefactory.errors import FactoryError
from imagefactory.sandbox.routes import Route
from imagefactory.sandbox.server import Server

PORT = 8000
ADDRESS = f"http://127.0.0.1:{PORT}"
"""Where an errand finds what its relay leads to. Each sandbox has a loopback interface of its own."""
_PATIENCE = 60  # seconds until the server has ended
_MAX_FAULTS = 100
_MAX_ADDRESS = 8192
# An address of ours as an errand may write it, and apt as the name of a file.
_OURS = re.compile(
    rf"(?:http://|/\S*/)?127\.0\.0\.1:{PORT}(?!\d)(?:([/_])(\d{{1,4}})(?:\1([^\s'\"`<>()]*))?)?"
    rf"| *\[IP: 127\.0\.0\.1 {PORT}\]"
)


class Relay:
    """Leads from a sandbox to the routes that were added, each at ``/<number>/``."""

    def __init__(self) -> None:
        self._routes: list[Route] = []
        self._faults: dict[str, FactoryError] = {}
        self._asked: dict[int, str] = {}
        self._numbers = itertools.count()

    @property
    def fault(self) -> FactoryError | None:
        """The first failure of an upstream, in our words, but for those of what it gave when it was asked
        again; None where all answered.
        """
        return next(iter(list(self._faults.values())), None)

    def add(self, route: Route) -> str:
        """The address of a route in the sandbox, without a ``/`` at its end."""
        self._routes.append(route)
        return f"{ADDRESS}/{len(self._routes) - 1}"

    @contextlib.contextmanager
    def serving(self, control: socket.socket) -> Iterator[None]:
        """Serve the socket that comes through ``control``, while the block runs."""
        self._faults.clear()
        self._asked.clear()
        server = Server(self)

        def serve() -> None:
            with contextlib.suppress(OSError, ValueError):  # the sandbox ended before it began
                _, (number,), _, _ = socket.recv_fds(control, 1, 1)
                server.serve(socket.socket(fileno=number))

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                control.shutdown(socket.SHUT_RDWR)
            server.end()
            thread.join(_PATIENCE)

    def find(self, target: str) -> tuple[Route, str, str] | None:
        """The route of a request's target, what follows its address, and the query; None where there is
        none.
        """
        path, _, query = target.partition("?")
        match = re.fullmatch(r"/(\d{1,4})(?:/(.*))?", path)
        if not match or len(target) > _MAX_ADDRESS or int(match[1]) >= len(self._routes):
            return None
        rest = match[2] or ""
        # An upstream, or a proxy on the way, might take these for a way out of the address: some decode
        # twice, some take what follows a ; for a parameter of a folder.
        plain = rest
        while (decoded := urllib.parse.unquote(plain)) != plain:
            plain = decoded
        folders = {part.partition(";")[0] for part in plain.split("/")}
        if not plain.isprintable() or "\\" in plain or {".", ".."} & folders:
            return None
        return self._routes[int(match[1])], rest, query

    def readable(self, text: str) -> str:
        """What an errand says, with real addresses in place of those that it knows."""

        def shown(match: re.Match[str]) -> str:
            sign, number, path = match.groups()
            if number is None or int(number) >= len(self._routes):
                return "" if match[0].endswith("]") else "the relay"
            path = path or ""
            return self._routes[int(number)].shown(path.replace("_", "/") if sign == "_" else path)

        return _OURS.sub(shown, text) if "127.0.0.1" in text else text

    def waits_for(self) -> str:
        """What has been asked for longest, and is still being answered; empty where nothing is."""
        return next(iter(list(self._asked.values())), "")

    @contextlib.contextmanager
    def asking(self, address: str) -> Iterator[None]:
        """Remember that an address is asked, while the block runs."""
        number = next(self._numbers)
        self._asked[number] = address
        try:
            yield
        finally:
            self._asked.pop(number, None)

    def note(self, target: str, fault: FactoryError | None) -> None:
        """Remember the first failure of each target, until it is answered: ``fault`` is None then."""
        if fault is None:
            self._faults.pop(target, None)
        elif len(self._faults) < _MAX_FAULTS:
            self._faults.setdefault(target, fault)
