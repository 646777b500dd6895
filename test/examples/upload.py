# SPDX-License-Identifier: MIT
"""upload, and a server that takes files, one that does not want them, and files that are not there.

usage: upload.py send|pipe|refused|missing|usage UPLOAD
"""

import email.parser
import email.policy
import os
import pathlib
import random
import tempfile
import threading

from support import Program, expect, listening, receive, run

NO_PROXY = {"no_proxy": "*"}


def read_head(file):
    """A request's first line, and its headers, each by its name in lower case."""
    first, headers = file.readline().decode().rstrip(), {}
    while line := file.readline().decode().rstrip():
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return first, headers


def read_chunks(file):
    body = b""
    while size := int(file.readline(), 16):
        body += file.read(size)
        file.readline()
    file.readline()
    return body


def read_form(listener):
    """Answer the next request with 201: (what a form's part is called, its type, its bytes) of each."""
    peer, _ = listener.accept()
    with peer, peer.makefile("rb") as file:
        first, headers = read_head(file)
        expect("the request", first, "POST /in HTTP/1.1")
        if headers.get("expect") == "100-continue":
            peer.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        size = headers.get("content-length")
        body = file.read(int(size)) if size is not None else read_chunks(file)
        peer.sendall(b"HTTP/1.1 201 Created\r\nContent-Length: 5\r\n\r\ndone\n")
    head = f"Content-Type: {headers['content-type']}\r\n\r\n".encode()
    parser = email.parser.BytesParser(policy=email.policy.HTTP)
    return [
        (
            part.get_param("name", header="content-disposition"),
            part.get_filename(),
            part.get_content_type(),
            part.get_payload(decode=True),
        )
        for part in parser.parsebytes(head + body).iter_parts()
    ]


def test_send(program):
    data = random.Random(1).randbytes(5000000).replace(b"\r", b"").replace(b"\n", b"")
    with tempfile.TemporaryDirectory() as directory, listening() as (listener, port):
        large, small = pathlib.Path(directory, "large.bin"), pathlib.Path(directory, "a b.txt")
        large.write_bytes(data)
        small.write_bytes(b"small\n")
        url = f"http://127.0.0.1:{port}/in"
        with Program(program, url, large, small, environment=NO_PROXY) as client:
            parts = read_form(listener)
            expect("parts", len(parts), 2)
            expect("the first", parts[0][:3], ("file", "large.bin", "application/octet-stream"))
            expect("its bytes", parts[0][3] == data, True)
            expect("the second", parts[1], ("file", "a b.txt", "text/plain", b"small\n"))
            expect("what it printed", client.end(), ["201", "done"])


def test_pipe(program):
    with tempfile.TemporaryDirectory() as directory, listening() as (listener, port):
        path = pathlib.Path(directory, "pipe")
        os.mkfifo(path)

        def write():
            path.write_bytes(b"through a pipe")

        writer = threading.Thread(target=write)
        writer.start()
        with Program(program, f"http://127.0.0.1:{port}/in", path, environment=NO_PROXY) as client:
            expect("what came", read_form(listener)[0][3], b"through a pipe")
            expect("what it printed", client.end(), ["201", "done"])
        writer.join()


def test_refused(program):
    with tempfile.TemporaryDirectory() as directory, listening() as (listener, port):
        path = pathlib.Path(directory, "large")
        path.write_bytes(bytes(5000000))
        with Program(program, f"http://127.0.0.1:{port}/in", path, environment=NO_PROXY) as client:
            peer, _ = listener.accept()
            with peer, peer.makefile("rb", buffering=0) as file:
                _, headers = read_head(file)
                expect("what it asks for", headers["expect"], "100-continue")
                peer.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
                expect("what it printed", client.end(status=1), ["413"])
                expect("what it sent besides", receive(peer, 1), b"")


def test_missing(program):
    with listening() as (_, port):
        url = f"http://127.0.0.1:{port}/in"
        with Program(program, url, "/nowhere/file", environment=NO_PROXY) as client:
            client.end(status=1, errors=f"upload: {url}: No such file or directory\n")


def test_usage(program):
    for arguments in ((), ("http://127.0.0.1/",), ("-x", "http://127.0.0.1/", "file")):
        with Program(program, *arguments) as client:
            client.end(status=2, errors="usage: upload [-n] URL FILE...\n")


run(
    {
        "send": test_send,
        "pipe": test_pipe,
        "refused": test_refused,
        "missing": test_missing,
        "usage": test_usage,
    }
)
