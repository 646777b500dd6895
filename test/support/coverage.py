#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What gcovr's figures come to, a layer a line, and what is not reached.

usage: coverage.py DIRECTORY

DIRECTORY has gcovr's all.json; missed.txt, with the lines and branches, is written beside it.
"""

import json
import pathlib
import sys

LAYERS = ["base", "core", "task", "sync", "io", "http"]


def runs(numbers):
    """1, 2, 3, 7 as 1-3, 7"""
    parts = []
    for number in numbers:
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in parts)


def percent(reached, of):
    return f"{100 * reached / of:6.1f} %" if of else "       -"


def main():
    folder = pathlib.Path(sys.argv[1])
    totals = {layer: [0, 0, 0, 0] for layer in LAYERS}
    missed = []

    for file in json.loads((folder / "all.json").read_text(encoding="utf-8"))["files"]:
        name = file["file"]
        total = totals[name.split("/")[1]]
        lines, branches = [], []
        for line in file["lines"]:
            if line.get("gcovr/noncode") or line.get("gcovr/excluded"):
                continue
            total[1] += 1
            total[0] += line["count"] > 0
            if line["count"] == 0:
                lines.append(line["line_number"])
            ways = [way for way in line["branches"] if not way.get("gcovr/excluded")]
            untaken = sum(way["count"] == 0 for way in ways)
            total[3] += len(ways)
            total[2] += len(ways) - untaken
            if untaken and line["count"]:
                branches.append(f"{line['line_number']} ({untaken} of {len(ways)})")
        if lines or branches:
            missed.append(f"{name}\n")
        if lines:
            missed.append(f"    lines:    {runs(sorted(set(lines)))}\n")
        if branches:
            missed.append(f"    branches: {', '.join(branches)}\n")

    (folder / "missed.txt").write_text("".join(missed), encoding="utf-8")
    print(f"{'':6} {'lines':>8} {'reached':>8} {'branches':>10} {'taken':>8}")
    for layer, (reached, lines, taken, branches) in totals.items():
        if lines:
            print(f"{layer:6} {lines:8} {percent(reached, lines)} {branches:10} {percent(taken, branches)}")


main()
