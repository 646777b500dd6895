# SPDX-License-Identifier: MIT
"""The echo server, with clients of three kinds.

usage: echo_server.py asyncio|halves|nc|python_tls|openssl ECHO_SERVER
"""

import asyncio
import os
import pathlib
import random
import signal
import socket
import ssl
import subprocess
import tempfile

from support import Program, connect, expect, need, receive, receive_all, run

CLIENTS = 100
SIZE = 1 << 20


async def client(port, number):
    """Sends a MiB in pieces of any size while it receives it back."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    randomly = random.Random(number)
    data = randomly.randbytes(SIZE)

    async def send():
        at = 0
        while at < SIZE:
            size = randomly.choice((1, 100, 5000, 65536, 200000))
            writer.write(data[at : at + size])
            await writer.drain()
            at += size
        writer.write_eof()

    sending = asyncio.create_task(send())
    echo = await reader.readexactly(SIZE)
    await sending
    expect(f"client {number} gets back what it sent", echo == data, True)
    expect(f"the end for client {number}", await reader.read(1), b"")
    writer.close()


def test_asyncio(program):
    async def clients(port):
        await asyncio.gather(*(client(port, number) for number in range(CLIENTS)))

    with Program(program) as server:
        asyncio.run(clients(server.port()))
        server.end(signal.SIGINT)


def test_halves(program):
    """Ends and resets of one client leave the others alone, and Ctrl-C ends it amid a connection."""
    with Program(program, environment={"UCO_DEBUG": "1"}) as server:
        port = server.port()
        with connect(port) as stays, connect(port) as half, connect(port) as reset:
            half.sendall(b"all\nthat I say")
            half.shutdown(socket.SHUT_WR)
            expect("after a half-close", receive_all(half), b"all\nthat I say")

            reset.sendall(b"x")
            expect("before a reset", receive(reset, 1), b"x")
            reset.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            reset.close()

            stays.sendall(b"still there")
            expect("beside them", receive(stays, 11), b"still there")
            server.end(signal.SIGINT)
            expect("the end", stays.recv(1), b"")


def test_nc(program):
    nc = need("nc")
    text = "".join(f"line {number}\n" for number in range(100000))
    with Program(program) as server:
        done = subprocess.run(
            [nc, "-N", "127.0.0.1", str(server.port())],
            input=text,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        expect("what nc got back", done.stdout == text, True)
        server.end(signal.SIGINT)


def certificate(directory):
    """A certificate for localhost and its key, as two files."""
    cert, key = directory / "cert.pem", directory / "key.pem"
    subprocess.run(
        [need("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt"]
        + ["ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
        + ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
        + ["-keyout", key, "-out", cert],
        stderr=subprocess.DEVNULL,
        check=True,
    )
    return cert, key


def test_python_tls(program):
    with tempfile.TemporaryDirectory() as directory:
        cert, key = certificate(pathlib.Path(directory))
        context = ssl.create_default_context(cafile=cert)
        data = os.urandom(SIZE)
        with Program(program, "--tls", cert, key) as server:
            port = server.port()
            with connect(port) as garbage:
                garbage.sendall(b"GET / HTTP/1.1\r\n\r\n")
                receive_all(garbage)
            for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
                context.maximum_version = version
                with context.wrap_socket(connect(port), server_hostname="localhost") as peer:
                    for at in range(0, SIZE, 65536):
                        peer.sendall(data[at : at + 65536])
                        expect("an echo", receive(peer, 65536) == data[at : at + 65536], True)
            server.signal(signal.SIGINT)
            expect("exit status", server.child.wait(), 0)


def test_openssl(program):
    openssl = need("openssl")
    with tempfile.TemporaryDirectory() as directory:
        cert, key = certificate(pathlib.Path(directory))
        with Program(program, "--tls", cert, key) as server:
            port = server.port()
            client = subprocess.Popen(
                [openssl, "s_client", "-quiet", "-verify_return_error", "-CAfile", cert]
                + ["-verify_hostname", "localhost", "-connect", f"127.0.0.1:{port}"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            try:
                for number in range(100):
                    line = f"line {number}\n".encode()
                    client.stdin.write(line)
                    client.stdin.flush()
                    expect("the line that came back", client.stdout.readline(), line)
            finally:
                client.kill()
                client.wait()
            server.end(signal.SIGINT)


run(
    {
        "asyncio": test_asyncio,
        "halves": test_halves,
        "nc": test_nc,
        "python_tls": test_python_tls,
        "openssl": test_openssl,
    }
)
