# SPDX-License-Identifier: MIT
"""Run serve and fetch against each other: pages at once, an error beside them, and Ctrl-C.

usage: test_programs.py SERVE FETCH
"""

import os
import signal
import subprocess
import sys


def expect(what, value, expected):
    if value != expected:
        sys.exit(f"{what}: {value!r}, not {expected!r}")


def fetch(program, *urls):
    environment = dict(os.environ, no_proxy="*")
    done = subprocess.run(
        [program, *urls], env=environment, stdout=subprocess.PIPE, text=True, check=False
    )
    print(done.stdout, end="")
    return done.returncode, sorted(done.stdout.splitlines())


def main():
    serve, program = sys.argv[1:]
    server = subprocess.Popen([serve], stdout=subprocess.PIPE, text=True)
    base = server.stdout.readline().strip().removesuffix("/hello")

    try:
        status, lines = fetch(program, f"{base}/hello", f"{base}/slow/50/bytes/100000")
        expect("exit status", status, 0)
        expect(
            "pages",
            lines,
            [f"{base}/hello: 200, 15 bytes", f"{base}/slow/50/bytes/100000: 200, 100000 bytes"],
        )

        status, lines = fetch(program, f"{base}/nowhere", "ftp://127.0.0.1/")
        expect("exit status beside an error", status, 1)
        expect("a page that is not there", lines[-1], f"{base}/nowhere: 404, 13 bytes")
        expect("lines", len(lines), 2)
    finally:
        server.send_signal(signal.SIGINT)
        rest, _ = server.communicate()
    expect("the server's end", (server.returncode, rest), (0, "3 answers\n"))


main()
