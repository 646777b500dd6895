# SPDX-License-Identifier: MIT
"""Each header compiles alone.

usage: headers.py ROOT FOLDER EXCEPT COMPILER [ARGUMENT...]

Compiles, for each header below FOLDER but those below ROOT/EXCEPT ("" for none), a file that includes only it.
"""

import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

from tree import Tree, finish


def main():
    tree = Tree(sys.argv[1])
    folder, excepted = sys.argv[2:4]
    compiler = sys.argv[4:]
    headers = [h for h in tree.files(folder, ".h") if not excepted or not h.startswith(excepted)]

    def compile_alone(header):
        with tempfile.TemporaryDirectory() as directory:
            source = os.path.join(directory, "alone.c")
            with open(source, "w", encoding="utf-8") as file:
                file.write(f'#include "{tree.path(header)}"\nextern int not_empty;\n')
            run = subprocess.run(
                compiler + ["-fsyntax-only", source], capture_output=True, text=True, check=False
            )
        return "" if run.returncode == 0 else f"{header} does not compile alone:\n{run.stderr}"

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        problems = [p for p in pool.map(compile_alone, headers) if p]
    finish(problems, len(headers))


main()
