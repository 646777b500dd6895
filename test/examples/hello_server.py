# SPDX-License-Identifier: MIT
"""The hello server, by raw sockets, by curl and under wrk.

usage: hello_server.py raw|bad|slow|curl|wrk HELLO_SERVER
"""

import re
import signal
import socket
import subprocess

from support import Program, connect, expect, fail, need, receive_all, run

HELLO = b"Hello, world\n"
GET = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"
LAST = b"GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n"


def answers(text, heads=()):
    """The (status, headers, body) of each answer in text; those whose index is in heads have none."""
    found = []
    while text:
        head, _, text = text.partition(b"\r\n\r\n")
        status, *lines = head.decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        size = 0 if len(found) in heads else int(headers.get("content-length", 0))
        expect("the answer's first words", status[:9], "HTTP/1.1 ")
        found.append((int(status[9:12]), headers, text[:size]))
        text = text[size:]
    return found


def exchange(port, *pieces, heads=()):
    with connect(port) as peer:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            peer.sendall(piece)
        return answers(receive_all(peer), heads)


def statuses(port, *pieces, heads=()):
    return [status for status, _, _ in exchange(port, *pieces, heads=heads)]


def test_raw(program):
    with Program(program, environment={"UCO_DEBUG": "1"}) as server:
        port = server.port()

        (status, headers, body), = exchange(port, LAST)
        expect("status and body", (status, body), (200, HELLO))
        expect("the header about the connection", headers["connection"], "close")
        date = re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} [\d:]{8} gmt", headers["date"])
        expect("a date", date is not None, True)

        # Many at once, of every kind, in order.
        mixed = [
            GET,
            b"HEAD / HTTP/1.1\r\nHost: here\r\n\r\n",
            b"GET /nowhere HTTP/1.1\r\nHost: here\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 5\r\n\r\nabcde",
            b"PUT / HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            b"GET /?a=b HTTP/1.1\r\nHost: here\r\n\r\n",
            b"GET http://here HTTP/1.1\r\nHost: here\r\n\r\n",
            b"GET http://here/ HTTP/1.1\r\nHOST:here\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
            LAST,
        ]
        expected = [200, 200, 404, 405, 405, 200, 200, 200, 200]
        expect("pipelined", statuses(port, b"".join(mixed), heads=(1,)), expected)
        bytewise = (bytes([byte]) for byte in b"".join(mixed))
        expect("byte by byte", statuses(port, *bytewise, heads=(1,)), expected)

        found = exchange(port, GET * 5000 + LAST)
        expect("5,001 pipelined", (len(found), {(s, b) for s, _, b in found}), (5001, {(200, HELLO)}))

        expect("nothing is answered after the last", statuses(port, LAST + GET), [200])

        (status, headers, _), = exchange(port, b"GET / HTTP/1.0\r\n\r\n")
        expect("HTTP/1.0", (status, headers["connection"]), (200, "close"))
        kept = b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
        found = [h["connection"] for _, h, _ in exchange(port, kept, kept + b"GET / HTTP/1.0\r\n\r\n")]
        expect("HTTP/1.0 that goes on", found, ["keep-alive", "keep-alive", "close"])

        server.end(signal.SIGINT)


def test_bad(program):
    cases = {
        "garbage": (b"\x16\x03\x01\x02\x00\x01\xfc\x03\x03", 400),
        "no such method": (b"HELLO / HTTP/1.1\r\nHost: here\r\n\r\n", 400),
        "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
        "two hosts": (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        "a bad length": (b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: -1\r\n\r\n", 400),
        "two lengths": (
            b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n"
            b"\r\n",
            400,
        ),
        "HTTP/2": (b"GET / HTTP/2.0\r\nHost: here\r\n\r\n", 505),
        "a long line": (b"GET /" + b"x" * 2000 + b" HTTP/1.1\r\nHost: here\r\n\r\n", 414),
        "long headers": (b"GET / HTTP/1.1\r\nX: " + b"x" * 100000 + b"\r\nHost: here\r\n\r\n", 431),
        "a large body": (b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 100000000\r\n\r\n", 413),
        "large chunks": (
            b"POST / HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n"
            + (b"ffff\r\n" + b"x" * 65535 + b"\r\n") * 2,
            413,
        ),
        "a tunnel": (b"CONNECT here:80 HTTP/1.1\r\nHost: here:80\r\n\r\n", 405),
    }
    with Program(program, environment={"UCO_DEBUG": "1"}) as server:
        port = server.port()
        for name, (request, status) in cases.items():
            found = exchange(port, GET + request + GET)
            expect(name, [s for s, _, _ in found], [200, status])
            expect(f"{name}: the end", found[1][1]["connection"], "close")
        expect("an end amid a request", half_a_request(port), [])
        expect("afterwards", statuses(port, LAST), [200])
        server.end(signal.SIGINT)


def half_a_request(port):
    with connect(port) as peer:
        peer.sendall(GET[:10])
        peer.shutdown(socket.SHUT_WR)
        return answers(receive_all(peer))


def test_slow(program):
    """Who takes too long for a request is told so, and who asks for nothing is let go."""
    with Program(program, "--timeout", "0.2", environment={"UCO_DEBUG": "1"}) as server:
        port = server.port()
        with connect(port) as idle, connect(port) as slow:
            slow.sendall(GET + GET[:20])
            expect("half a request", [s for s, _, _ in answers(receive_all(slow))], [200, 408])
            expect("none", receive_all(idle), b"")

        # It keeps asking and never reads: the answers that it gets no rid of do not keep it.
        with connect(port) as stalled:
            stalled.settimeout(60)
            try:
                while True:
                    stalled.sendall(GET * 1000)
            except (ConnectionResetError, BrokenPipeError):
                pass
        server.end(signal.SIGINT)


def test_curl(program):
    curl = need("curl")

    def ask(*arguments):
        return subprocess.run(
            [curl, "--silent", "--show-error", "--noproxy", "*", *arguments],
            stdout=subprocess.PIPE,
            check=True,
        ).stdout

    with Program(program, environment={"UCO_DEBUG": "1"}) as server:
        url = server.line()
        report = "%{http_code} %{num_connects}\n"
        expect("GET", ask(url), HELLO)
        expect("HEAD", ask("--head", url)[:15], b"HTTP/1.1 200 OK")
        expect("404", ask("-o", "/dev/null", "-w", "%{http_code}", url + "x"), b"404")
        expect("HTTP/1.0", ask("--http1.0", url), HELLO)
        expect("an upgrade that is declined", ask("--http2", url), HELLO)
        kept = ask("-w", report, url, url, url).replace(HELLO, b"").decode().split("\n")[:-1]
        expect("connections for three in a row", kept, ["200 1", "200 0", "200 0"])
        expect(
            "POST, told to go on",
            ask("-o", "/dev/null", "-w", "%{http_code}", "-H", "Expect: 100-continue", "-d", "x" * 50000, url),
            b"405",
        )
        server.end(signal.SIGINT)


def test_wrk(program):
    wrk = need("wrk")
    with Program(program) as server:
        done = subprocess.run(
            [wrk, "-t", "2", "-c", "100", "-d", "2", "--timeout", "60", "--latency", server.line()],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        print(done.stdout)
        requests = re.search(r"^ *(\d+) requests in", done.stdout, re.M)
        if requests is None or int(requests[1]) == 0:
            fail("no requests")
        for sign in ("Socket errors", "Non-2xx"):
            if sign in done.stdout:
                fail(sign)
        server.end(signal.SIGINT)


run({"raw": test_raw, "bad": test_bad, "slow": test_slow, "curl": test_curl, "wrk": test_wrk})
