#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Cut the marked parts out of source files, so that the tour shows the very code that it runs.

Usage: excerpts.py OUTPUT SOURCE...

Writes a C header with one struct excerpt for each source, named after it. The parts between
"tour: from here" and "tour: to here" are joined by a line that says that something was left out.
"""

import pathlib
import sys
import textwrap

BEGIN = "/* tour: from here */"
END = "/* tour: to here */"
GAP = "/* ... */"
WIDTH = 96  # columns: the tour indents by four


def fail(path, number, message):
    sys.exit(f"{path}:{number}: {message}")


def parts_of(path):
    """Each part as (number of its first line, its lines)."""
    parts, part = [], None
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, start=1):
        if line.strip() == BEGIN:
            if part is not None:
                fail(path, number, "a part within a part")
            part = (number + 1, [])
        elif line.strip() == END:
            if part is None:
                fail(path, number, "a part ends that never began")
            parts.append(part)
            part = None
        elif part is not None:
            if len(line) > WIDTH:
                fail(path, number, f"more than {WIDTH} columns")
            part[1].append(line)
    if part is not None or not parts:
        fail(path, len(lines), "no part, or one without an end")
    return parts


def c_string(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '\\n"'


def excerpt_of(path):
    parts = parts_of(path)
    lines = []
    for _, part in parts:
        if lines:
            lines += ["", GAP, ""]
        lines += textwrap.dedent("\n".join(part)).split("\n")
    name = path.stem.replace("scene_", "excerpt_")
    text = "\n".join("            " + c_string(line) for line in lines)
    return (
        f"static const struct excerpt {name} = {{\n"
        f'    .file = "{path.name}",\n'
        f"    .line = {parts[0][0]},\n"
        f"    .text =\n{text},\n"
        f"}};\n"
    )


def main():
    output, *sources = map(pathlib.Path, sys.argv[1:])
    text = "/* Made by excerpts.py from the scenes. */\n\n"
    text += "struct excerpt {\n    const char *file;\n    int line;\n    const char *text;\n};\n\n"
    text += "\n".join(excerpt_of(source) for source in sources)
    output.write_text(text, encoding="utf-8")


main()
