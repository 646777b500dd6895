# SPDX-License-Identifier: MIT
"""A server of files that are not there: what a path asks for is made up.

/bytes/SIZE/NAME   SIZE bytes, with Range, If-Range and ETag
/half/SIZE/NAME    half of them, and the rest when the test says so
/flaky/N/NAME      503 to the first N requests
/status/N/NAME     that status
/headers/NAME      the request's headers
"""

import contextlib
import http.server
import re
import socket
import threading


def content(size):
    return bytes(i * 7 % 251 for i in range(min(size, 251))) * (size // 251 + 1)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16  # a head and a small body are one piece

    def log_message(self, *_):
        pass

    def do_GET(self):
        site = self.server
        with site.lock:
            site.requests.append((self.path, self.headers.get("Range")))
            nth = sum(1 for path, _ in site.requests if path == self.path)
        kind, *rest = self.path.partition("?")[0].strip("/").split("/")
        number = int(rest[0]) if rest and rest[0].isdigit() else 0
        if kind in ("bytes", "half"):
            self.send_file(content(number)[:number], kind == "half")
        elif kind == "flaky":
            self.send_text(503 if nth <= number else 200, "at last")
        elif kind == "status":
            self.send_text(number, "")
        elif kind == "headers":
            self.send_text(200, str(self.headers))
        else:
            self.send_text(200, "text")

    def send_text(self, status, text):
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        if status == 503:
            self.send_header("Retry-After", "0")
        self.end_headers()
        self.wfile.write(text.encode())

    def send_file(self, data, by_halves):
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        first = int(asked[1]) if asked and self.headers.get("If-Range", '"1"') == '"1"' else 0
        self.send_response(206 if first else 200)
        self.send_header("ETag", '"1"')
        self.send_header("Content-Length", str(len(data) - first))
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        data = data[first:]
        half = len(data) // 2 if by_halves and not first else 0
        self.wfile.write(data[:half])
        if half:
            self.wfile.flush()
            self.server.go_on.wait()
        self.wfile.write(data[half:])


class Site(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.lock = threading.Lock()
        self.requests = []  # (path, Range)
        self.go_on = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request, client_address):
        pass  # clients break off on purpose

    def process_request(self, request, client_address):
        request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().process_request(request, client_address)

    def asked(self, path):
        """The Range headers of the requests for a path."""
        with self.lock:
            return [ranges for asked, ranges in self.requests if asked == path]


@contextlib.contextmanager
def serving():
    site = Site()
    thread = threading.Thread(target=site.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield site
    finally:
        site.go_on.set()
        site.shutdown()
        site.socket.close()
