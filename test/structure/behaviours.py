#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Each test that docs/testing.md names stands in the file that it names, and each fault has its row."""

import pathlib
import re
import sys

# So many faults of each kind, none of which may be missing.
FAULTS = {"B": 19, "C": 18, "E": 22, "N": 6}


def main() -> int:
    root = pathlib.Path(sys.argv[1])
    rows = named = problems = 0
    missing = {f"{kind}{number}" for kind, last in FAULTS.items() for number in range(1, last + 1)}

    for line in (root / "docs/testing.md").read_text(encoding="utf-8").splitlines():
        row = re.match(r"\| ([A-Z]{1,2}\d+) \| .* \| (.*) \|$", line)
        if row is None:
            continue
        rows += 1
        found = re.findall(r"`(\w+/test_\w+\.cc?)`: ([\w, ]+)", row[2])
        if found:
            missing.discard(row[1])
        for file, tests in found:
            path = root / "test" / file
            source = path.read_text(encoding="utf-8") if path.exists() else ""
            for test in tests.split(", "):
                named += 1
                if f"START_TEST({test.strip()})" not in source:
                    print(f"docs/testing.md: {row[1]}: no test {test.strip()} in test/{file}")
                    problems += 1
    for fault in sorted(missing):
        print(f"docs/testing.md: {fault}: no row, or one without a test")
        problems += 1
    print(f"{rows} rows, {named} tests named, {problems} problems")
    return 1 if problems or rows == 0 or named == 0 else 0


sys.exit(main())
