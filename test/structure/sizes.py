# SPDX-License-Identifier: MIT
"""No file and no function of src/ grows past what can be read at once.

A function is what stands between a `{` and the next `}` in the first column.
"""

import sys

from tree import Tree, finish

MOST_LINES = {".c": 600, ".h": 300}
MOST_LINES_OF_FUNCTION = 70


def functions(lines):
    """Where each function begins and how many lines it has, its braces included."""
    start = None
    for number, line in enumerate(lines, 1):
        if line.startswith("{"):
            start = number
        elif line.startswith("}") and start is not None:
            yield start, number - start + 1
            start = None


def main():
    tree = Tree(sys.argv[1])
    problems = []
    names = tree.files("src", *MOST_LINES)

    for name in names:
        lines = tree.read(name).splitlines()
        most = MOST_LINES[name[-2:]]
        if len(lines) > most:
            problems.append(f"{name}: {len(lines)} lines, more than {most}")
        for start, size in functions(lines):
            if size > MOST_LINES_OF_FUNCTION:
                problems.append(f"{name}:{start}: a function of {size} lines, more than {MOST_LINES_OF_FUNCTION}")

    finish(problems, len(names))


main()
