# SPDX-License-Identifier: MIT
"""What the structure tests share: finding the sources, and reading C without its comments."""

import os
import re
import sys

SKIPPED = 77  # meson's exit status for a test that could not run

_TOKENS = re.compile(
    r"""/\*.*?\*/ | //[^\n]* | "(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*'""", re.S | re.X
)


class Tree:
    """A source tree; paths in and out are relative to its root."""

    def __init__(self, root):
        self.root = root

    def path(self, name):
        return os.path.join(self.root, name)

    def read(self, name):
        with open(self.path(name), encoding="utf-8") as file:
            return file.read()

    def files(self, folder, *endings):
        """The files below a folder whose names end so, sorted."""
        found = []
        for directory, _, names in os.walk(self.path(folder)):
            for name in names:
                if name.endswith(endings):
                    found.append(os.path.relpath(os.path.join(directory, name), self.root))
        return sorted(found)


def without_comments(text, keep_strings=True):
    """C text in which comments, and if wanted the contents of strings, are blank; lines keep their numbers."""

    def blank(match):
        token = match.group(0)
        if token[0] == "/":
            return " " + "\n" * token.count("\n")
        return token if keep_strings else token[0] * 2

    return _TOKENS.sub(blank, text)


def finish(problems, looked_at):
    """Prints what is wrong and ends the test. One that looked at nothing proves nothing, and fails."""
    for problem in problems:
        print(problem)
    if not looked_at:
        print("nothing to look at: is this the source tree?")
    print(f"{looked_at} looked at, {len(problems)} problems")
    sys.exit(1 if problems or not looked_at else 0)
