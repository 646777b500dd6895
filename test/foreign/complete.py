# SPDX-License-Identifier: MIT
"""Each function of the core is called in the child of a fork(): test_fork.c names all of them.

usage: complete.py ROOT
"""

import os
import re
import sys

sys.path.insert(0, os.path.join(sys.argv[1], "test", "structure"))

from tree import Tree, finish, without_comments  # noqa: E402

DECLARATION = re.compile(r"\bUCO_API\b[^;{]*?\b(uco_\w+)\s*\(")
PREPROCESSOR = re.compile(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", re.M)


def main():
    tree = Tree(sys.argv[1])
    called = set(re.findall(r"\buco_\w+", without_comments(tree.read("test/foreign/test_fork.c"))))
    problems = []
    functions = 0

    for header in tree.files("include", ".h"):
        if "/http" in header:
            continue
        for name in DECLARATION.findall(PREPROCESSOR.sub("", without_comments(tree.read(header)))):
            functions += 1
            if name not in called:
                problems.append(f"{header}: {name} is not in test/foreign/test_fork.c")

    finish(problems, functions)


main()
