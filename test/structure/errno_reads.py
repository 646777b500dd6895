# SPDX-License-Identifier: MIT
"""Only base/ turns errno into a result: elsewhere a call's error is its negative return value already.

Saving and restoring errno as a whole, and setting it for functions that return a pointer, is fine everywhere.
"""

import re
import sys

from tree import Tree, finish, without_comments

READ = re.compile(r"-\s*errno\b | \berrno\s*[!=]= | [!=]=\s*errno\b | \bswitch\s*\(\s*errno\b", re.X)

# A program on the public API, whose functions that return a pointer set errno.
ALLOWED = ("src/ufetch/",)


def main():
    tree = Tree(sys.argv[1])
    problems = []
    looked_at = 0

    for name in tree.files("src", ".c", ".h"):
        if name.startswith(("src/base/", *ALLOWED)):
            continue
        looked_at += 1
        text = without_comments(tree.read(name), keep_strings=False)
        for number, line in enumerate(text.split("\n"), 1):
            if READ.search(line):
                problems.append(f"{name}:{number}: only base/ reads errno: {line.strip()}")

    finish(problems, looked_at)


main()
