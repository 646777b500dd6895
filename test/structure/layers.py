# SPDX-License-Identifier: MIT
"""A file of src/ includes its own folder and the layers below it; system interfaces stay in their layer."""

import os
import re
import sys

from tree import Tree, finish, without_comments

PROGRAMS = ["ufetch"]  # use the public headers only
LAYERS = ["base", "core", "task", "sync", "io", "http"]

# Where a system header may be included: its path's beginning, and the layer.
CONFINED = [
    ("ucontext.h", "core"),
    ("sys/ucontext.h", "core"),
    ("sys/epoll.h", "core"),
    ("liburing", "core"),
    ("linux/io_uring.h", "core"),
    ("curl/", "http"),
]

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.M)


def includes(tree, name):
    text = without_comments(tree.read(name))
    for match in INCLUDE.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        yield f"{name}:{line}", match.group(1) == "<", match.group(2)


def check_internal(layer, included):
    folder = included.split("/")[0] if "/" in included else layer
    if folder not in LAYERS:
        return f'"{included}" is in no layer'
    if LAYERS.index(folder) > LAYERS.index(layer):
        return f"{layer}/ must not include {folder}/, which stands above it"
    return None


def check_system(layer, included):
    for beginning, where in CONFINED:
        if included.startswith(beginning) and layer != where:
            return f"<{included}> belongs in {where}/ only"
    if layer not in ("http", "include") and included.startswith("uco/http"):
        return f"<{included}> is http/'s"
    return None


def main():
    tree = Tree(sys.argv[1])
    problems = []
    looked_at = 0

    for name in tree.files("src", ".c", ".h"):
        layer = name.split("/")[1]
        looked_at += 1
        if layer in PROGRAMS:
            for place, system, included in includes(tree, name):
                if not system and os.path.dirname(included) not in ("", layer):
                    problems.append(f'{place}: "{included}": a program uses the public headers')
            continue
        if layer not in LAYERS:
            problems.append(f"{name}: {layer} is no layer")
            continue
        for place, system, included in includes(tree, name):
            check = check_system if system else check_internal
            problem = check(layer, included)
            if problem:
                problems.append(f"{place}: {problem}")

    for name in tree.files("include", ".h"):
        looked_at += 1
        for place, system, included in includes(tree, name):
            problem = check_system("include", included)
            if not system:
                problem = f'"{included}": public headers include each other as <uco/...>'
            elif included.startswith("uco/http") and not name.startswith("include/uco/http"):
                problem = f"the core does without <{included}>"
            if problem:
                problems.append(f"{place}: {problem}")

    finish(problems, looked_at)


main()
