# SPDX-License-Identifier: MIT
"""The TCP proxy between real peers.

usage: tcp_proxy.py transfer|half_close|stalled|grace|nc TCP_PROXY
"""

import contextlib
import hashlib
import os
import select
import signal
import socket
import subprocess
import threading

from support import (
    SANITIZED,
    Program,
    connect,
    expect,
    fail,
    listening,
    need,
    receive,
    receive_all,
    run,
    taken_port,
)

MIB = 1 << 20
LARGE = 64 * MIB


@contextlib.contextmanager
def proxied(program, *options):
    """A proxy, its port, and the socket behind it that listens."""
    with listening() as (listener, port):
        with Program(program, *options, "0", "127.0.0.1", port) as proxy:
            yield proxy, proxy.port(), listener


def pair(port, listener):
    """A client and the server's end of its connection through the proxy."""
    client = connect(port)
    server, _ = listener.accept()
    return client, server


def test_transfer(program):
    """Several connections at once, both ways at once, and a server that is not there."""

    def send(peer, data):
        peer.sendall(data)
        peer.shutdown(socket.SHUT_WR)

    with proxied(program) as (proxy, port, listener):
        jobs, ends, results = [], [], []

        def check(peer, data):
            results.append(receive_all(peer) == data)

        for _ in range(8):
            client, server = pair(port, listener)
            up, down = os.urandom(4 * MIB), os.urandom(4 * MIB)
            ends += [client, server]
            jobs += [(send, client, up), (send, server, down), (check, client, down), (check, server, up)]
        threads = [threading.Thread(target=job[0], args=job[1:]) for job in jobs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        expect("what came through, both ways", results, [True] * 16)
        for end in ends:
            end.close()
        expect("its end", proxy.end(signal.SIGTERM)[-1], "8 connections")

    with taken_port() as port, Program(program, "0", "127.0.0.1", port) as proxy:
        listen = proxy.port()
        with connect(listen) as client:
            expect("without a server", client.recv(1), b"")
        refused = f"tcp_proxy: 127.0.0.1:{port}: Connection refused\n"
        proxy.end(signal.SIGTERM, errors=refused)


def test_half_close(program):
    with proxied(program) as (proxy, port, listener):
        client, server = pair(port, listener)
        client.sendall(b"the question")
        client.shutdown(socket.SHUT_WR)
        expect("the server sees the end", receive_all(server), b"the question")
        server.sendall(b"the answer")
        expect("and can still answer", receive(client, 10), b"the answer")
        server.shutdown(socket.SHUT_WR)
        expect("the client sees the end", client.recv(1), b"")

        # A reset on one side ends the other.
        client, server = pair(port, listener)
        client.sendall(b"x")
        expect("before the reset", server.recv(1), b"x")
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        with contextlib.suppress(ConnectionResetError):
            expect("after the reset", server.recv(1), b"")
        proxy.end(signal.SIGINT)


def send_until_stalled(peer, data):
    """Sends until nothing is taken for a second; returns how much was sent."""
    peer.setblocking(False)
    sent = 0
    while sent < len(data) and select.select([], [peer], [], 1.0)[1]:
        sent += peer.send(data[sent : sent + MIB])
    return sent


def test_stalled(program):
    """A client that does not read: the server is held up, not the proxy's memory filled."""
    data = memoryview(os.urandom(MIB) * (LARGE // MIB))
    most = (64 if SANITIZED else 4) * MIB

    with proxied(program, "--grace", "0") as (proxy, port, listener):
        other, other_server = pair(port, listener)
        other.sendall(b"x")
        expect("a byte", other_server.recv(1), b"x")
        before = proxy.resident()

        client, server = pair(port, listener)
        sent = send_until_stalled(server, data)
        grown = proxy.resident() - before
        print(f"{sent} bytes were taken of {LARGE}; the proxy's memory grew by {grown}")
        if sent == LARGE:
            fail("nothing held the server up")
        if grown > most:
            fail("too much memory for a stalled reader")

        # The others go on meanwhile.
        other_server.sendall(b"still there")
        expect("another connection", receive(other, 11), b"still there")

        def send_rest():
            server.setblocking(True)
            server.sendall(data[sent:])
            server.shutdown(socket.SHUT_WR)

        rest = threading.Thread(target=send_rest)
        rest.start()
        got = hashlib.sha256(receive_all(client)).digest()
        rest.join()
        expect("all of it arrives once it is read", got == hashlib.sha256(data).digest(), True)
        if not SANITIZED:  # which keeps what was freed
            expect("memory at the end", proxy.resident() - before <= most, True)
        proxy.end(signal.SIGINT)


def wait_for_refusal(port):
    """The proxy closes what it listens on after it has said so; what waits there by then is reset."""
    while True:
        try:
            connect(port).close()
        except ConnectionRefusedError:
            return
        except ConnectionResetError:
            pass


def test_grace(program):
    """SIGTERM: no new connections, and the old ones go on, for as long as the grace is."""
    with proxied(program, "--grace", "200") as (proxy, port, listener):
        client, server = pair(port, listener)
        client.sendall(b"x")
        expect("before", server.recv(1), b"x")
        proxy.signal(signal.SIGTERM)
        expect("its word", proxy.line()[:19], "no more connections")
        wait_for_refusal(port)
        server.sendall(b"and goes on")
        expect("after", receive(client, 11), b"and goes on")
        client.close()
        server.close()
        expect("the end", proxy.end(), ["1 connections"])

    with proxied(program, "--grace", "0.1") as (proxy, port, listener):
        client, server = pair(port, listener)
        client.sendall(b"x")
        expect("before", server.recv(1), b"x")
        proxy.end(signal.SIGTERM)
        expect("a client whose time is up", client.recv(1), b"")


def test_nc(program):
    """nc listens behind the proxy, and nc is the client."""
    nc = need("nc")
    question = b"".join(b"question %d\n" % number for number in range(50000))
    answer = b"".join(b"answer %d\n" % number for number in range(50000))
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "bufsize": 0}

    def say(child, text):
        while text:
            text = text[child.stdin.write(text) :]

    def hear(child, size):
        text = b""
        while len(text) < size:
            text += child.stdout.read(size - len(text)) or fail("nc ended early")
        return text

    with taken_port() as port:
        pass  # nc can't be told to take any free port and say which
    listening_nc = [nc, "-v", "-N", "-l", "127.0.0.1", str(port)]
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(child(listening_nc, stderr=subprocess.PIPE, **pipes))
        expect("nc listens", server.stderr.readline()[:9], b"Listening")
        proxy = stack.enter_context(Program(program, "0", "127.0.0.1", port))
        client = stack.enter_context(child([nc, "-N", "127.0.0.1", str(proxy.port())], **pipes))
        talks = [
            threading.Thread(target=say, args=(client, question)),
            threading.Thread(target=say, args=(server, answer)),
        ]
        for talk in talks:
            talk.start()
        # At once, without an end: an nc that listens goes when the other side has ended.
        heard = []
        hearing = threading.Thread(target=lambda: heard.append(hear(server, len(question))))
        hearing.start()
        expect("what the client hears", hear(client, len(answer)) == answer, True)
        hearing.join()
        expect("what the server hears", heard == [question], True)
        for talk in talks:
            talk.join()

        client.stdin.close()
        expect("the server's end", server.wait(), 0)
        expect("the client's end", client.wait(), 0)
        proxy.end(signal.SIGTERM)


@contextlib.contextmanager
def child(arguments, **options):
    with subprocess.Popen(arguments, **options) as process:
        try:
            yield process
        finally:
            process.kill()


run(
    {
        "transfer": test_transfer,
        "half_close": test_half_close,
        "stalled": test_stalled,
        "grace": test_grace,
        "nc": test_nc,
    }
)
