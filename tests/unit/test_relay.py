"""What a relay makes of what a sandbox says: it may be any bytes, and is its own affair alone."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
import tracemalloc
from collections.abc import Iterator

import pytest

from imagefactory.errors import BuildFailed, FactoryError, Gone, NetworkFault
from imagefactory.sandbox import Question, Relay, Reply, server

FINE = b"GET /0/x HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /0/x HTTP/1.1\r\nHost: x\r\n"
ROOM, CONNECTIONS = 300_000, 20


class Echo:
    """A route that says what it was asked, or fails so."""

    def __init__(self) -> None:
        self.asked: list[Question] = []
        self.fails: list[FactoryError] = []

    @contextlib.contextmanager
    def reply(self, asked: Question) -> Iterator[Reply]:
        self.asked.append(asked)
        if self.fails:
            raise self.fails.pop(0)
        said = f"{asked.method} {asked.path} {len(asked.body)}".encode()
        yield Reply(200, {}, (said,), len(said))

    def shown(self, path: str) -> str:
        return f"https://real.example.org/{path}"


class Served:
    """A relay with one route, as a sandbox has it."""

    def __init__(self, port: int, routes: Relay, echo: Echo) -> None:
        self.port, self.relay, self.echo = port, routes, echo

    def say(self, data: bytes, *, ends: bool = True) -> bytes:
        """All that it answers, until it hangs up or, where we end, has no more to say."""
        with socket.create_connection(("127.0.0.1", self.port), 10) as connection:
            with contextlib.suppress(OSError):
                connection.sendall(data)
                if ends:
                    connection.shutdown(socket.SHUT_WR)
            answer = b""
            with contextlib.suppress(ConnectionError):
                while piece := connection.recv(1 << 16):
                    answer += piece
            return answer


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setattr(server, "_MAX_QUESTION", ROOM)
    monkeypatch.setattr(server, "_MAX_CONNECTIONS", CONNECTIONS)
    ours, theirs = socket.socketpair()
    routes, echo = Relay(), Echo()
    routes.add(echo)
    with ours, theirs, socket.create_server(("127.0.0.1", 0)) as listener, routes.serving(ours):
        socket.send_fds(theirs, [b"."], [listener.fileno()])
        yield Served(listener.getsockname()[1], routes, echo)


def status(answer: bytes) -> int:
    return int(answer.split()[1]) if answer.startswith(b"HTTP/") else 0


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (b"\x00\xff\x1b[2J\r\n\r\n", 0),
        (b"DELETE /0/x HTTP/1.1\r\n\r\n", 501),
        (b"CONNECT real.example.org:443 HTTP/1.1\r\n\r\n", 501),
        (b"GET http://real.example.org/0/x HTTP/1.1\r\n\r\n", 403),
        (b"GET //real.example.org/0/x HTTP/1.1\r\n\r\n", 403),
        (b"GET /1/x HTTP/1.1\r\n\r\n", 403),
        (b"GET /-1/x HTTP/1.1\r\n\r\n", 403),
        (b"GET /99999/x HTTP/1.1\r\n\r\n", 403),
        (b"GET /0/../1/x HTTP/1.1\r\n\r\n", 403),
        (b"GET /0/%2e%2e/x HTTP/1.1\r\n\r\n", 403),
        (b"GET /0/a\\..\\b HTTP/1.1\r\n\r\n", 403),
        (b"GET /0/%0d%0aX:y HTTP/1.1\r\n\r\n", 403),
        (b"GET /0/" + b"x" * 9000 + b" HTTP/1.1\r\n\r\n", 403),
        (b"GET /0/" + b"x" * 99_000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET /0/x HTTP/9.9\r\n\r\n", 0),
        (b"GET /0/x HTTP/1.1\r\n" + b"X: y\r\n" * 500 + b"\r\n", 431),
        (b"GET /0/x HTTP/1.1\r\nX: " + b"y" * 99_000 + b"\r\n\r\n", 431),
        (POST + b"Content-Length: 1\r\nContent-Length: 30\r\n\r\na" + FINE, 403),
        (POST + b"Content-Length: 1, 30\r\n\r\na", 403),
        (POST + b"Content-Length: -1\r\n\r\na", 403),
        (POST + b"Content-Length: +1\r\n\r\na", 403),
        (POST + b"Content-Length: 999999999\r\n\r\na", 403),
        (POST + b"Content-Length: " + b"9" * 9000 + b"\r\n\r\na", 403),
        (POST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", 403),
        (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 403),
        (POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n", 403),
        *(
            (POST + b"Transfer-Encoding: chunked\r\n\r\n" + chunk, 403)
            for chunk in (
                b"-1\r\na",
                b"0x1\r\na\r\n",
                b"1_0\r\n",
                b"+1\r\na",
                b"\r\n",
                b"1\r\nab\r\n",
                b"ffffff\r\n",
            )
        ),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"x" * 99 + b"\r\na\r\n0\r\n\r\n", 403),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX: y\r\n\r\n", 403),
    ],
)
def test_what_is_no_question_is_refused(served: Served, said: bytes, answer: int) -> None:
    """And reaches no route; nor does what stands after it."""
    assert status(served.say(said + FINE)) == answer
    assert served.echo.asked == []
    assert served.relay.fault is None
    assert status(served.say(FINE)) == 200


def test_half_a_question_is_none(served: Served) -> None:
    assert status(served.say(POST + b"Content-Length: 9\r\n\r\na")) == 403
    assert served.echo.asked == []


def test_questions_follow_each_other(served: Served) -> None:
    chunked = POST + b"Transfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    answer = served.say(FINE + chunked + POST + b"Content-Length: 4\r\n\r\nabcd" + FINE)
    assert [asked.body for asked in served.echo.asked] == [b"", b"abcde", b"abcd", b""]
    assert answer.count(b"HTTP/1.1 200") == 4


def test_a_body_without_end(served: Served) -> None:
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    tracemalloc.start()
    try:
        with socket.create_connection(("127.0.0.1", served.port), 10) as connection:
            connection.sendall(POST + b"Transfer-Encoding: chunked\r\n\r\n")
            # It hangs up, in one way or another.
            with contextlib.suppress(OSError):
                for _ in range(1000):
                    connection.sendall(chunk)
                pytest.fail("it takes what has no end")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert served.echo.asked == []
    assert peak < 8 * ROOM
    assert served.say(POST + b"Content-Length: %d\r\n\r\n" % ROOM + bytes(ROOM)).endswith(b" x %d" % ROOM)


def test_all_questions_together_are_bounded(served: Served) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", served.port), 10))
            connection.sendall(POST + b"Content-Length: %d\r\n\r\n" % (ROOM // 3))
        time.sleep(0.2)
        assert status(served.say(POST + b"Content-Length: 9\r\n\r\n" + bytes(9))) == 403
        assert status(served.say(FINE)) == 200
    time.sleep(0.2)
    assert status(served.say(POST + b"Content-Length: 9\r\n\r\n" + bytes(9))) == 200


def test_connections_that_say_nothing_are_bounded(served: Served) -> None:
    before = threading.active_count()
    with contextlib.ExitStack() as stack:
        for _ in range(CONNECTIONS + 20):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", served.port), 10))
            connection.sendall(b"GET /0/x HTTP/1.1\r\nX: ")
        time.sleep(0.3)
        assert threading.active_count() <= before + CONNECTIONS
        assert served.say(FINE) == b""
    time.sleep(0.3)
    assert status(served.say(FINE)) == 200


def test_who_says_nothing_for_long_is_hung_up_on(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server._Handler, "timeout", 0.2)
    began = time.monotonic()
    assert status(served.say(POST + b"Content-Length: 9\r\n\r\na", ends=False)) == 0
    assert time.monotonic() - began < 5


def test_a_fault_is_over_where_the_same_is_answered_later(served: Served) -> None:
    passing, other = NetworkFault("it is slow"), NetworkFault("it is gone")
    served.echo.fails = [passing]
    assert status(served.say(FINE)) == 502
    assert served.relay.fault is passing
    served.echo.fails = [other]
    served.say(FINE.replace(b"/x", b"/y"))
    assert served.relay.fault is passing
    assert status(served.say(FINE.replace(b"GET", b"HEAD"))) == 200
    assert served.relay.fault is passing  # which says nothing of what it would give
    assert status(served.say(FINE)) == 200
    assert served.relay.fault is other


@pytest.mark.parametrize(
    ("fault", "answer", "stays"),
    [(Gone("no"), 404, False), (NetworkFault("no"), 502, True), (BuildFailed("no \udcff"), 403, True)],
)
def test_how_a_fault_is_told(served: Served, fault: FactoryError, answer: int, stays: bool) -> None:
    """Programs ask again after 502 alone."""
    served.echo.fails = [fault]
    assert status(served.say(FINE)) == answer
    assert served.relay.fault is (fault if stays else None)


def test_addresses_are_told_as_they_really_are() -> None:
    routes = Relay()
    routes.add(Echo())
    for said, shown in (
        ("at 'http://127.0.0.1:8000/0/a/b.c': no", "at 'https://real.example.org/a/b.c': no"),
        ("in http://127.0.0.1:8000/0", "in https://real.example.org/"),
        (
            "file /job/l/127.0.0.1:8000_0_dists_x_Release (1)",
            "file https://real.example.org/dists/x/Release (1)",
        ),
        ("404  Not Found [IP: 127.0.0.1 8000]", "404  Not Found"),
        ("http://127.0.0.1:8000/7/x and http://127.0.0.1:8000", "the relay and the relay"),
        ("http://127.0.0.1:80001/0/x", "http://127.0.0.1:80001/0/x"),
    ):
        assert routes.readable(said) == shown
