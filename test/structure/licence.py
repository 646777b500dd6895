# SPDX-License-Identifier: MIT
"""Each source file names its licence in its first line, or its second after a #! line."""

import os
import sys

from tree import Tree, finish

FOLDERS = ["include", "src", "test", "bench", "examples", ".ci"]
ENDINGS = (".c", ".h", ".cc", ".map", ".py", ".sh", "meson.build", ".ini", ".supp", "/run", "/compile")
AT_THE_TOP = ["meson.build", "meson_options.txt", "run.sh"]
LINE = "SPDX-License-Identifier: MIT"


def main():
    tree = Tree(sys.argv[1])
    names = [name for name in AT_THE_TOP if os.path.exists(tree.path(name))]
    problems = []

    for folder in FOLDERS:
        names += [name for name in tree.files(folder, "") if name.endswith(ENDINGS)]
    for name in names:
        lines = tree.read(name).split("\n", 2)
        if LINE not in lines[1 if lines[0].startswith("#!") else 0]:
            problems.append(f"{name}: no line '{LINE}' at its top")

    finish(problems, len(names))


main()
