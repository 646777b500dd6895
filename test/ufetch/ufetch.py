# SPDX-License-Identifier: MIT
"""ufetch, against a server of its own.

usage: ufetch.py CASE UFETCH
"""

import contextlib
import fcntl
import hashlib
import json
import os
import pathlib
import pty
import re
import resource
import signal
import struct
import subprocess
import tempfile
import termios
import time

from server import content, serving
from support import SANITIZED, expect, fail, run, taken_port

HAS_SUMS = os.environ.get("UFETCH_SUMS", "1") == "1"
ENVIRONMENT = {
    name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")
}


def start(program, *arguments, **options):
    return subprocess.Popen(
        [program, *map(str, arguments)],
        **{
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "env": ENVIRONMENT,
            **options,
        },
    )


def finish(child, status, what="exit status"):
    """What it printed on stdout and stderr."""
    out, err = child.communicate()
    if child.returncode != status:
        fail(f"{what}: {child.returncode}, not {status}: {(err or b'').decode(errors='replace')}")
    return (out or b"").decode(), (err or b"").decode()


def fetch(program, *arguments, status=0, text=None):
    child = start(program, *arguments, stdin=subprocess.PIPE)
    if text is not None:
        child.stdin.write(text.encode())
    return finish(child, status, " ".join(map(str, arguments)))


@contextlib.contextmanager
def stage():
    """A server, and a folder that is empty."""
    with serving() as site, tempfile.TemporaryDirectory() as folder:
        yield site, pathlib.Path(folder)


def names(folder):
    return sorted(os.listdir(folder))


def wait_until(condition):
    while not condition():  # the test's own time limit ends it
        time.sleep(0.01)


def sum_of(data):
    return hashlib.sha256(data).hexdigest()


def test_names(program):
    with stage() as (site, folder):
        fetch(
            program, "-o", folder / "new", f"{site.url}/a", f"{site.url}/b/a?x=/y", f"{site.url}/a#c",
            f"{site.url}/a.2", f"{site.url}/", f"{site.url}/x/..", f"{site.url}/d%20e", f"{site.url}/" + "n" * 300,
        )  # fmt: skip
        expect(
            "names",
            names(folder / "new"),
            sorted(["a", "a.2", "a.3", "a.2.4", "index.html", "index.html.6", "d%20e", "n" * 199]),
        )


def test_list(program):
    with stage() as (site, folder):
        listed = folder / "list"
        listed.write_text(
            f"# a comment\n\n{site.url}/a\r\n{site.url}/b\tB  \n{site.url}/c\t../c\n{site.url}/last"
        )
        fetch(program, "-i", listed, "-o", folder / "a", f"{site.url}/argument")
        expect("names", names(folder / "a"), [".._c", "B", "a", "argument", "last"])
        fetch(program, "-i", "-", "-o", folder / "b", text=listed.read_text())
        expect("from stdin", names(folder / "b"), [".._c", "B", "a", "last"])
        out, err = fetch(program, "-i", "-", text="")
        expect("of nothing", (out, "0 of 0" in err), ("", True))
        _, err = fetch(program, "-i", "-", "-o", folder / "c", text=f"{site.url}/a\n{'x' * 70000}\n", status=1)
        expect("a line without end", "-: Message too long" in err, True)
        expect("what came before it", names(folder / "c"), ["a"])
        fetch(program, "-i", folder / "nowhere", status=2)
        fetch(program, "-i", folder, status=1)


def test_lazy(program):
    """A list that never ends is fetched as it comes, and not read ahead of what is fetched."""
    with stage() as (site, folder):
        child = start(program, "-i", "-", "-j", 2, "-o", folder, stdin=subprocess.PIPE)
        for number in range(20):
            child.stdin.write(f"{site.url}/n{number}\n".encode())
            child.stdin.flush()
            wait_until((folder / f"n{number}").exists)
        child.stdin.close()
        child.stdin = None
        finish(child, 0)

        child = start(program, "-i", "-", "-j", 2, "-o", folder, stdin=subprocess.PIPE)
        os.set_blocking(child.stdin.fileno(), False)
        line = f"{site.url}/half/1000/x\n".encode() * 100
        written = 0
        full_since = time.monotonic()
        while time.monotonic() - full_since < 0.5:
            with contextlib.suppress(BlockingIOError):
                written += os.write(child.stdin.fileno(), line)
                full_since = time.monotonic()
        expect("what it has taken is bounded", written < 1 << 20, True)
        child.kill()
        child.communicate()


def test_states(program):
    with stage() as (site, folder), taken_port() as port:
        good, bad, dead = f"{site.url}/a", f"{site.url}/status/404/b", f"http://127.0.0.1:{port}/c"
        fetch(program, "-o", folder, "-r", 0, good, good)
        _, err = fetch(program, "-o", folder, "-r", 0, good, bad, status=1)
        expect("a 404", f"ufetch: {bad}: the server answered 404" in err, True)
        fetch(program, "-o", folder, "-r", 0, bad, dead, status=3)
        _, err = fetch(program, "-q", "-o", folder, "-r", 0, good, bad, status=1)
        expect("quiet", err.count("\n"), 1)
        fetch(program, "-o", folder / "a", good, status=2)  # which is a file
        _, err = fetch(program, "-o", folder, "example", status=3)
        expect("no scheme", "scheme" in err, True)
        expect("files", names(folder), ["a", "a.2"])


def test_usage(program):
    url = "http://127.0.0.1:9/"
    for arguments in (
        [], ["--nonsense"], ["-j", 0, url], ["-j", "x", url], ["-j", 257, url], ["-r", -1, url], ["-t", 0, url],
["--sha256", "0" * 64, url, url], ["--sha256", "0" * 64, "-i", "-"], ["-i", "/nonexistent"], ["-i"],
        ["-H", "no header", url], ["-o", "/dev/null", url],
    ):  # fmt: skip
        out, err = fetch(program, *arguments, status=2)
        expect(f"{arguments}", (out, err != ""), ("", True))
    out, err = fetch(program, "--help")
    expect("help", (out.startswith("usage: ufetch"), err), (True, ""))
    expect("its width", max(map(len, out.splitlines())) <= 100, True)
    out, err = fetch(program, "--version")
    expect("version", re.fullmatch(r"ufetch \d+\.\d+\.\d+\n", out) is not None, True)


def test_sums(program):
    data = content(300000)[:300000]
    right, wrong = sum_of(data), "0" * 64
    with stage() as (site, folder):
        url = f"{site.url}/bytes/300000/x"
        if not HAS_SUMS:
            fetch(program, "-o", folder, "--sha256", right, url, status=3)
            fetch(program, "-o", folder, "-i", "-", text=f"{url}\tsha256:{right}\n", status=3)
            expect("without sums", names(folder), [])
            return
        fetch(program, "-o", folder, "--sha256", right.upper(), url)
        (folder / "x").write_text("old")
        _, err = fetch(program, "-o", folder, "--sha256", wrong, url, status=3)
        expect("what it is", f"SHA-256 is {right}" in err, True)
        expect("the old file", (folder / "x").read_text(), "old")
        listed = f"{url}\tsha256:{right}\n{url}\ty\tsha256:{wrong}\n{url}\tz\tsha256:\n"
        fetch(program, "-o", folder, "-i", "-", text=listed, status=1)
        expect("the right one", (folder / "x").read_bytes() == data, True)

        # What is there is not believed where it should have a sum.
        (folder / "x").write_text("damaged")
        fetch(program, "-c", "-o", folder, "--sha256", right, url)
        expect("a damaged file is fetched again", (folder / "x").read_bytes() == data, True)
        # A part that is not what it should be leads to no file, and is not gone on with.
        fetch(program, "-c", "-o", folder, "-i", "-", text=f"{url}\tpart\tsha256:{wrong}\n", status=3)
        expect("files", names(folder), ["x"])


def test_continue(program):
    """Killed in the middle, it goes on there; what is whole is not asked for again."""
    size = 2000000
    with stage() as (site, folder):
        path = f"/half/{size}/x"
        child = start(program, "-c", "-o", folder, site.url + path)
        part = folder / "x.part"
        wait_until(lambda: part.exists() and part.stat().st_size > size // 4)
        child.send_signal(signal.SIGKILL)
        child.communicate()
        expect("after the kill", names(folder), ["x.part", "x.part.etag"])
        out, _ = fetch(program, "-c", "-o", folder, "--json", site.url + path)
        expect("the file", (folder / "x").read_bytes() == content(size)[:size], True)
        expect("files", names(folder), ["x"])
        expect("where it went on", re.fullmatch(r"bytes=\d+-", site.asked(path)[1]) is not None, True)
        result = json.loads(out)["results"][0]
        expect("the rest only", result["received"] < result["bytes"] == size, True)
        _, err = fetch(program, "-c", "-o", folder, site.url + path)
        expect("once more", (len(site.requests), "is there already" in err), (2, True))
        site.go_on.set()
        fetch(program, "-o", folder, site.url + path)
        expect("without -c", len(site.requests), 3)


def test_retries(program):
    with stage() as (site, folder):
        out, _ = fetch(program, "-o", folder, "--json", f"{site.url}/flaky/2/x")
        expect("attempts", json.loads(out)["results"][0]["attempts"], 3)
        fetch(program, "-r", 1, "-o", folder, f"{site.url}/flaky/2/y", status=3)
        started = time.monotonic()
        _, err = fetch(program, "-r", 0, "-t", 1, "-o", folder, f"{site.url}/half/1000/z", status=3)
        expect("-t", (time.monotonic() - started >= 1, "timed out" in err), (True, True))
        expect("files", names(folder), ["x"])


def test_requests(program):
    with stage() as (site, folder):
        fetch(program, "-H", "X-A: 1", "-H", "X-B: 2", "-H", "User-Agent: me", "-o", folder, f"{site.url}/headers/x")
        text = (folder / "x").read_text()
        for header in ("X-A: 1", "X-B: 2", "User-Agent: me"):
            expect(f"{header} in {text}", header in text, True)


def test_interrupt(program):
    with stage() as (site, folder):
        slow = [f"{site.url}/half/1000000/{name}" for name in "abc"]
        for extra, left in (["-c"], ["a.part", "a.part.etag", "b.part", "b.part.etag"]), ([], []):
            summary = folder / "summary"
            with open(summary, "wb") as file:
                child = start(
                    program, *extra, "-j", 2, "-o", folder, "--json", f"{site.url}/first{len(left)}", *slow, stdout=file
                )
            before = len(site.requests)
            wait_until(lambda n=before: len(site.requests) >= n + 3)
            if extra:
                wait_until(lambda: all((folder / f"{n}.part").exists() for n in "ab"))
                wait_until(lambda: all((folder / f"{n}.part").stat().st_size > 1000 for n in "ab"))
            child.send_signal(signal.SIGINT)
            _, err = finish(child, 130)
            for url in slow[:2]:
                expect(f"{url} in {err}", f"ufetch: {url}: interrupted\n" in err, True)
            expect("files", names(folder), sorted([*left, f"first{len(left)}", "summary"]))
            totals = json.loads(summary.read_text())["totals"]
            expect("totals", [totals[name] for name in ("fetched", "unfinished")], [1, 2])
            for name in names(folder):
                (folder / name).unlink()

        # Waiting for a list, and for nothing else.
        child = start(program, "-i", "-", "-o", folder, f"{site.url}/a", stdin=subprocess.PIPE)
        wait_until((folder / "a").exists)
        child.send_signal(signal.SIGTERM)
        finish(child, 130)

        # Where it cannot tell what has become of its jobs, it waits; a second signal ends that.
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        with contextlib.suppress(BlockingIOError):
            while os.write(writer, b"x" * 4096):
                pass
        os.set_blocking(writer, True)
        before = len(site.requests)
        child = start(program, "-o", folder, slow[0], stderr=writer)
        os.close(writer)
        wait_until(lambda: len(site.requests) > before)
        child.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            fail(f"it ended with {child.wait(0.5)}")
        child.send_signal(signal.SIGINT)
        finish(child, -signal.SIGINT)
        os.close(reader)


class Terminal:
    """A pseudo-terminal, and what a program has written to it."""

    def __init__(self, rows=24, columns=80):
        self.master, self.slave = pty.openpty()
        self.text = ""
        self.resize(rows, columns)

    def resize(self, rows, columns):
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self):
        """More of it; False at the end."""
        try:
            piece = os.read(self.master, 65536)
        except OSError:  # the last one has closed the other end
            return False
        self.text += piece.decode(errors="replace")
        return True

    def frames(self):
        return self.text.split("\x1b[J")


def test_terminal(program):
    with stage() as (site, folder):
        terminal = Terminal(rows=6, columns=90)
        slow = [f"{site.url}/half/{size}/name{size}" for size in (400000, 500000, 600000, 700000, 800000, 900000)]
        child = start(program, "-o", folder, *slow, f"{site.url}/status/404/no%1bt", stderr=terminal.slave)
        os.close(terminal.slave)

        def shown():
            lines = re.sub(r"\x1b\[\?7[lh]|\x1b\[K", "", terminal.frames()[-2]).split("\r\n")
            return [line for line in lines if "[" in line and not line.startswith("\x1b")]

        while not (
            len(terminal.frames()) > 2
            and len(shown()) >= 4
            and "1 of 7" in shown()[-1]
            and all("50%" in one for one in shown()[:-1])
        ):
            terminal.read()
        bars = shown()
        bar = re.compile(r"name\d00000 +\[=+ +\]  50% +\d+\.\d MiB +\d+\.\d MiB/s +\d+ s")
        expect(f"bars, {bars}", all(bar.fullmatch(one) for one in bars[1:-1]), True)
        expect("their width", all(len(one) <= 90 for one in bars), True)
        site.go_on.set()
        while terminal.read():
            pass
        finish(child, 1)
        last = terminal.frames()[-1]
        expect("at the end", "6 of 7 fetched" in last, True)
        expect("no bars", "\x1b[?7l" in last, False)
        expect("in the window", set(re.findall(r"\x1b\[(\d+)A", terminal.text)) <= {"1", "2", "3", "4", "5"}, True)
        expect("what failed", f"ufetch: {site.url}/status/404/no%1bt: " in terminal.text, True)
        expect("no other escapes", re.findall(r"\x1b(?!\[\?7[lh]|\[\d+A|\[[JK])", terminal.text), [])
        os.close(terminal.master)


def test_terminal_slow(program):
    """Frames come at most ten times a second, however much happens, and nobody waits for one."""
    with stage() as (site, folder):
        terminal = Terminal()
        child = start(
            program, "-o", folder, "-i", "-", stderr=terminal.slave, stdin=subprocess.PIPE
        )
        os.close(terminal.slave)
        started = time.monotonic()
        child.stdin.write("".join(f"{site.url}/n{n}\n" for n in range(200)).encode())
        child.stdin.close()
        child.stdin = None
        while terminal.read():
            pass
        seconds = time.monotonic() - started
        finish(child, 0)
        expect("frames", len(re.findall(r"\x1b\[\d+A", terminal.text)) <= seconds * 10 + 1, True)
        expect("the end", "200 of 200 fetched" in terminal.text, True)
        os.close(terminal.master)


def test_summary(program):
    with stage() as (site, folder):
        url = f"{site.url}/bytes/1000/x"
        out, err = fetch(program, "-o", folder, "--json", url, f"{site.url}/status/500/y", "-r", 0, status=1)
        summary = json.loads(out)
        results = {one["url"]: one for one in summary["results"]}
        expect("results", len(results), 2)
        one = results[url]
        expect("seconds", 0 <= one.pop("seconds") < 100, True)
        expected = {
            "url": url, "file": "x", "outcome": "fetched", "error": "", "status": 200, "sha256": "", "bytes": 1000, "received": 1000, "attempts": 1,
        }  # fmt: skip
        expect("one", one, expected)
        other = results[f"{site.url}/status/500/y"]
        expect("other", (other["outcome"], other["status"], "500" in other["error"]), ("failed", 500, True))
        summary["totals"].pop("seconds")
        expected = {
            "fetched": 1, "present": 0, "failed": 1, "unfinished": 0, "bytes": 1000, "received": 1000,
        }  # fmt: skip
        expect("totals", summary["totals"], expected)
        expect("the lines are on stderr", "fetched" in err, True)
        out, _ = fetch(program, "--json", "-i", "-", text="")
        expect("of nothing", json.loads(out)["results"], [])
        if os.path.exists("/dev/full"):
            with open("/dev/full", "wb") as full:
                _, err = finish(start(program, "-o", folder, "--json", url, stdout=full), 1)
            expect("a full disk", "No space left" in err, True)


def test_hostile(program):
    """Nothing of a list or a URL reaches the terminal or the summary as it is."""
    with stage() as (site, folder):
        child = start(program, "-r", 0, "-o", folder, "-i", "-", "--json", stdin=subprocess.PIPE)
        child.stdin.write(f'{site.url}/q"\\\tq"\\\nhttp://\x1b]0;x\x07/\n{site.url}/z\t\x1b[2J\x01\n'.encode())
        child.stdin.write(f"{site.url}/w\t".encode() + b"\xff\xfe\xc2\x9b\n{site.url}\0\n")
        child.stdin.close()
        child.stdin = None
        out, err = finish(child, 1)
        expect("results", len(json.loads(out)["results"]), 5)
        expect("controls", [c for c in out + err if ord(c) < 32 and c != "\n" or 127 <= ord(c) < 160], [])
        expect("names", names(folder), ["_[2J_", "____"])


def test_many(program):
    """More files than fds, and 64 at once."""
    count = 300 if SANITIZED else 1000

    def limit():
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))

    with stage() as (site, folder):
        child = start(program, "-q", "-j", 64, "-i", "-", "-o", folder, stdin=subprocess.PIPE, preexec_fn=limit)
        child.stdin.write("".join(f"{site.url}/bytes/{n}/n{n}\n" for n in range(count)).encode())
        child.stdin.close()
        child.stdin = None
        expect("what it said", finish(child, 0), ("", ""))
        expect("files", len(names(folder)), count)
        for number in (0, 1, 250, count - 1):
            expect(f"n{number}", (folder / f"n{number}").read_bytes() == content(number)[:number], True)


run({name[5:]: case for name, case in list(globals().items()) if name.startswith("test_")})
