# SPDX-License-Identifier: MIT
"""What the shared libraries export is what the headers declare, and nothing else.

usage: symbols.py NM ROOT LIBRARY PART

The headers of the part "http" are <uco/http.h> and <uco/http/...>, of "core" all others. Functions that they declare UCO_API are exported
under the version UCO_0, and nothing else is; what is under UCO_PRIVATE begins with uco__. No declaration lacks UCO_API.
"""

import re
import subprocess
import sys

from tree import Tree, finish, without_comments

PREPROCESSOR = re.compile(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", re.M)
DECLARATION = re.compile(r"\bUCO_API\b([^;{]*)[;{]")
FUNCTION = re.compile(r"\b(uco\w+)\s*\(")
TYPE = re.compile(r"\btypedef\b[^;{]*(?:\{[^}]*\}[^;]*)?;")


def declared(tree, part, problems):
    names = set()
    for header in tree.files("include", ".h"):
        if ("/http" in header) != (part == "http"):
            continue
        text = PREPROCESSOR.sub("", without_comments(tree.read(header)))
        for declaration in DECLARATION.findall(text):
            names.add(FUNCTION.search(declaration).group(1))
        for name in FUNCTION.findall(TYPE.sub("", DECLARATION.sub("", text))):
            problems.append(f"{header}: {name} is declared without UCO_API")
    return names


def exported(nm, library):
    """A set of (name, version)."""
    output = subprocess.run(
        [nm, "-D", "--defined-only", library], stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    symbols = set()
    for line in output.splitlines():
        kind, symbol = line.split()[-2:]
        name, _, version = symbol.partition("@")
        if kind != "A":  # the version nodes themselves
            symbols.add((name, version.lstrip("@")))
    return symbols


def main():
    nm, root, library, part = sys.argv[1:]
    problems = []
    api = declared(Tree(root), part, problems)
    symbols = exported(nm, library)
    public = {name for name, version in symbols if version == "UCO_0"}

    for name, version in sorted(symbols):
        if not name.startswith("uco_"):
            problems.append(f"{name}@{version} is exported and does not begin with uco_")
        elif version == "UCO_PRIVATE" and not name.startswith("uco__"):
            problems.append(f"{name} is private and does not begin with uco__")
        elif version not in ("UCO_0", "UCO_PRIVATE"):
            problems.append(f"{name} has the version {version or 'none'}")
    for name in sorted(public - api):
        problems.append(f"{name} is exported, but no header declares it UCO_API")
    for name in sorted(api - public):
        problems.append(f"{name} is declared UCO_API, but not exported")

    finish(problems, len(api))


main()
