# SPDX-License-Identifier: MIT
"""sse_client, and servers that go on, break off, have no more, and are no source of events.

usage: sse_client.py resume|interrupt|refused|usage SSE_CLIENT
"""

import contextlib
import signal

from support import Program, expect, listening, receive_all, run

NO_PROXY = {"no_proxy": "*"}
HEAD = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n\r\n"


@contextlib.contextmanager
def request(listener):
    """The next connection, and what its request says, each header by its name in lower case."""
    peer, _ = listener.accept()
    with peer:
        lines = peer.makefile("rb", buffering=0)
        headers = {"": lines.readline().decode().rstrip()}
        while line := lines.readline().decode().rstrip():
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        yield peer, headers


def test_resume(program):
    with listening() as (listener, port):
        with Program(program, f"http://127.0.0.1:{port}/news", environment=NO_PROXY) as client:
            with request(listener) as (peer, headers):
                expect("the request", headers[""], "GET /news HTTP/1.1")
                expect("what it accepts", headers["accept"], "text/event-stream")
                expect("the last event", headers.get("last-event-id"), None)
                peer.sendall((HEAD + ": hello\n\nretry: 20\nid: 7\ndata: one\n\n").encode())
                expect("an event", client.line(), "message: one")
                peer.sendall(b"event: price\nid: 8\ndata: 1")
                peer.sendall(b"2\n\nid: 9\ndata: never who")
                expect("an event in pieces", client.line(), "price: 12")
            with request(listener) as (peer, headers):
                expect("the last event", headers["last-event-id"], "8")
                peer.sendall((HEAD + "data: two\ndata: lines\n\n").encode())
                expect("its first line", client.line(), "message: two")
                expect("its second line", client.line(), "lines")
            with request(listener) as (peer, headers):
                expect("the last event, still", headers["last-event-id"], "8")
                peer.sendall(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
            expect("the rest", client.end(), [])


def test_interrupt(program):
    with listening() as (listener, port):
        with Program(program, f"http://127.0.0.1:{port}/", environment=NO_PROXY) as client:
            with request(listener) as (peer, _):
                peer.sendall((HEAD + "data: x\n\n").encode())
                expect("an event", client.line(), "message: x")
                expect("the rest", client.end(signal.SIGINT), [])
                expect("what it sent besides", receive_all(peer), b"")


def test_refused(program):
    with listening() as (listener, port):
        url = f"http://127.0.0.1:{port}/"
        for answer in ("404 Not Found\r\n", "200 OK\r\nContent-Type: text/html\r\n"):
            with Program(program, url, environment=NO_PROXY) as client:
                with request(listener) as (peer, _):
                    peer.sendall(f"HTTP/1.1 {answer}Content-Length: 0\r\n\r\n".encode())
                    client.end(
                        status=1, errors=f"sse_client: {url}: {answer[:3]}, and no events\n"
                    )


def test_usage(program):
    with Program(program) as client:
        client.end(status=2, errors="usage: sse_client URL\n")
    with Program(program, "ftp://127.0.0.1/") as client:
        client.end(status=1, errors="sse_client: Invalid argument\n")


run(
    {
        "resume": test_resume,
        "interrupt": test_interrupt,
        "refused": test_refused,
        "usage": test_usage,
    }
)
