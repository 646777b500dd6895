# SPDX-License-Identifier: MIT
"""Compile each C block of the user's documents, and see that the names they use exist.

usage: test_documents.py SOURCE-ROOT HELLO COMPILER...

A block with a function in it is compiled as it stands, any other as the body of a coroutine, in
which the names of PRELUDE are known. The README's first block is examples/hello.c, and the first
```text block after it is what the program HELLO, made from that, prints.
"""

import pathlib
import re
import subprocess
import sys

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
NAME = re.compile(r"\b(?:uco|UCO)_\w*\w\b")

DOCUMENTS = (
    "README.md",
    "docs/from-asyncio.md",
    "docs/http.md",
    "docs/io.md",
    "docs/testing-your-code.md",
    "docs/tls.md",
    "docs/ufetch.md",
)

# The environment is no identifier; neither is what a shell or meson calls the dependency.
OTHER_NAMES = {"UCO_BACKEND", "UCO_DEBUG", "UCO_SEED", "uco_dep", "uco_http_dep"}

HEADERS = """\
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uco/http.h>
#include <uco/testing.h>
#include <uco/tls.h>
#include <uco/uco.h>
"""

PRELUDE = """\
struct page { const char *url; };
extern intptr_t f(void *arg), g(void *arg), cleanup(void *arg), blocking(void *arg);
extern void callback(void *arg), readable(void *arg), on_done(void *arg), free_job(void *arg);
extern void *a, *b, *x, *y;
extern uco_loop *loop;
extern uco_future *future;
extern uco_task *task, *tasks[3];
extern uco_http_client *client;
extern uco_http_response *response;
extern uco_websocket *ws;
extern uco_stream *stream;
extern uco_stream_fn handler;
extern int fd;
extern char buffer[4096];
extern struct sockaddr *address;
extern socklen_t address_size;
"""


def blocks(path):
    """Each block as (its language, its first line's number, its text)."""
    text = path.read_text(encoding="utf-8")
    for match in BLOCK.finditer(text):
        yield match.group(1), text.count("\n", 0, match.start(2)) + 1, match.group(2)


def program(path, number, text):
    line = f'#line {number} "{path}"\n'
    if re.search(r"^\{$", text, re.M):
        head = "" if "#include" in text else HEADERS + PRELUDE
        return head + line + text
    return f"{HEADERS}{PRELUDE}intptr_t block(void *);\nintptr_t block(void *arg) {{ (void) arg;\n{line}{text}\nreturn 0; }}\n"


def compile_block(compiler, root, path, number, text):
    flags = ["-std=gnu11", "-Wall", "-Wextra", "-Wno-unused", "-Werror", f"-I{root}/include"]
    done = subprocess.run(
        [*compiler, *flags, "-fsyntax-only", "-x", "c", "-"],
        input=program(path, number, text),
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    return [done.stderr] if done.returncode != 0 else []


def declared_names(root):
    names = set(OTHER_NAMES)
    for header in (root / "include/uco").rglob("*.h"):
        names.update(NAME.findall(header.read_text(encoding="utf-8")))
    return names


def unknown_names(root, path):
    known = declared_names(root)
    text = path.read_text(encoding="utf-8")
    for match in NAME.finditer(text):
        if match.group(0) not in known:
            line = text.count("\n", 0, match.start()) + 1
            yield f"{path}:{line}: {match.group(0)} is in no header"


def check_hello(root, hello):
    readme = list(blocks(root / "README.md"))
    shown = next(text for language, _, text in readme if language == "c")
    first, source = (root / "examples/hello.c").read_text(encoding="utf-8").split("\n", 1)
    if "SPDX" not in first or shown != source:
        yield "README.md: the first C block is not examples/hello.c"

    printed = next(text for language, _, text in readme if language == "text")
    done = subprocess.run([hello], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0 or done.stdout != printed:
        yield f"README.md: hello printed {done.stdout!r} and ended with {done.returncode}"


def main():
    root, hello, *compiler = sys.argv[1:]
    root = pathlib.Path(root)
    problems = list(check_hello(root, hello))
    compiled = 0

    for path in (root / name for name in DOCUMENTS):
        problems += unknown_names(root, path)
        for language, number, text in blocks(path):
            if language == "c":
                problems += compile_block(compiler, root, path, number, text)
                compiled += 1

    print("\n".join(problems))
    print(f"{compiled} blocks compiled, {len(problems)} problems")
    sys.exit(1 if problems or compiled == 0 else 0)


main()
