# SPDX-License-Identifier: MIT
"""tail, and files that grow, shrink and change their names.

usage: tail.py append|truncate|rotate|several|missing TAIL
"""

import pathlib
import signal
import tempfile

from support import Program, expect, run


def in_directory(test):
    def with_directory(program):
        with tempfile.TemporaryDirectory() as directory:
            test(program, pathlib.Path(directory))

    return with_directory


def append(path, text):
    with open(path, "a", encoding="ascii") as file:
        file.write(text)


def lines(program, number):
    return [program.line() for _ in range(number)]


@in_directory
def test_append(program, directory):
    path = directory / "log"
    path.write_text("".join(f"line {number}\n" for number in range(20000)))
    with Program(program, path, environment={"UCO_DEBUG": "1"}) as tail:
        expect("the last ten", lines(tail, 10), [f"line {n}" for n in range(19990, 20000)])
        for number in range(20000, 20100):
            append(path, f"line {number}\n")
            expect("an appended line", tail.line(), f"line {number}")
        append(path, "in ")
        append(path, "pieces\n")
        expect("a line in pieces", tail.line(), "in pieces")
        large = "x" * 1000000
        append(path, large + "\n")
        expect("a large line", tail.line() == large, True)
        tail.end(signal.SIGINT)

    for text, number, expected in (
        ("a\nb\nc\n", 2, "b\nc\n"),
        ("a\nb\nc", 2, "b\nc"),
        ("a\nb\n\n", 2, "b\n\n"),
        ("a\n", 5, "a\n"),
        ("".join(f"{n}\n" for n in range(50000)), 20000, "".join(f"{n}\n" for n in range(30000, 50000))),
    ):
        path.write_text(text)
        with Program(program, "-n", number, path) as tail:
            expect("the last lines", tail.read(len(expected)) == expected, True)
            tail.end(signal.SIGINT)

    path.write_text("old\n")
    with Program(program, "-n", 0, path) as tail:
        while not tail.has_output(0.05):  # when it begins is not to be seen
            append(path, "new\n")
        expect("with -n 0", tail.line(), "new")
        tail.end(signal.SIGINT)


@in_directory
def test_truncate(program, directory):
    path = directory / "log"
    path.write_text("a\nb\n")
    with Program(program, path) as tail:
        expect("before", lines(tail, 2), ["a", "b"])
        path.write_text("")
        append(path, "c\n")
        expect("after", tail.line(), "c")
        tail.end(signal.SIGTERM, errors=f"tail: {path}: truncated\n")


@in_directory
def test_rotate(program, directory):
    path, old = directory / "log", directory / "log.1"
    path.write_text("a\n")
    with Program(program, path) as tail:
        expect("before", tail.line(), "a")
        for turn in range(3):
            path.rename(old)
            append(old, f"late {turn}\n")  # who had it open writes on
            expect("of the renamed file", tail.line(), f"late {turn}")
            path.write_text(f"new {turn}\n")
            expect("of the new file", tail.line(), f"new {turn}")
            append(path, f"more {turn}\n")
            expect("of the new file", tail.line(), f"more {turn}")

        fresh = directory / "fresh"
        fresh.write_text("moved here\n")
        append(path, "last words\n")
        fresh.rename(path)
        expect("a file moved over it", lines(tail, 2), ["last words", "moved here"])

        path.unlink()
        path.write_text("born again\n")
        expect("a file in its place", tail.line(), "born again")
        expect("open files", tail.files() < 16, True)
        tail.signal(signal.SIGINT)
        expect("exit status", tail.child.wait(), 0)


@in_directory
def test_several(program, directory):
    a, b, link = directory / "a", directory / "b", directory / "link"
    a.write_text("1\n")
    b.write_text("2\n")
    link.symlink_to(a)
    with Program(program, a, b) as tail:
        expect("at first", lines(tail, 5), [f"==> {a} <==", "1", "", f"==> {b} <==", "2"])
        append(b, "3\n")
        expect("of the same", tail.line(), "3")
        append(a, "4\n")
        expect("of another", lines(tail, 3), ["", f"==> {a} <==", "4"])
        tail.end(signal.SIGINT)
    with Program(program, "-n", 1, a, link) as tail:
        expect("at first", lines(tail, 5), [f"==> {a} <==", "4", "", f"==> {link} <==", "4"])
        append(a, "5\n")
        tail.wait_for(lambda line: line == "5")
        tail.wait_for(lambda line: line == "5")  # once by each name
        tail.end(signal.SIGINT)


@in_directory
def test_missing(program, directory):
    path, here = directory / "log", directory / "here"
    here.write_text("here\n")
    with Program(program, path, here) as tail:
        expect("the one that is there", lines(tail, 2), [f"==> {here} <==", "here"])
        path.write_text("there\n")
        expect("the other", lines(tail, 3), ["", f"==> {path} <==", "there"])
        tail.end(
            signal.SIGINT,
            errors=f"tail: {path}: No such file or directory; waiting for it\ntail: {path}: a new file\n",
        )
    with Program(program, directory / "no" / "directory") as tail:
        tail.end(status=1, errors="tail: No such file or directory\n")


run(
    {
        "append": test_append,
        "truncate": test_truncate,
        "rotate": test_rotate,
        "several": test_several,
        "missing": test_missing,
    }
)
