#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Each fuzzer and each of its targets for some time, one after the other.

usage: all.py BUILD [--minutes 1] [--seed N] [--jobs N]

What is found is printed with what shows it again. Without --seed the inputs are others each day, so
that every run looks at something new. The last line sums up.

Exit status: 0, 1 when something was found.
"""

import argparse
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

# With their targets; how many inputs a target has had is what a line of its output says.
FUZZERS = {
    "fuzz": ["lock", "semaphore", "event", "condition", "barrier", "queue", "select"],
    "fuzz-text": ["url", "headers", "range", "frames", "events", "lines", "stream", "websocket"],
    "fuzz-http": [None],
}
DAY = 86400
SEEDS_OF_A_DAY = 10**9  # no fuzzer comes through more


def fuzz(program, target, seed, seconds):
    command = [program] + ([target] if target else [])
    command += ["--seed", str(seed), "--seconds", str(seconds)]
    result = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False
    )
    runs = re.search(r"(\d+) runs", result.stdout)
    print((result.stdout + result.stderr).rstrip())
    if result.returncode != 0:
        print(f"found by: {' '.join(command)}")
    sys.stdout.flush()
    return int(runs[1]) if runs else 0, result.returncode != 0


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("build")
    parser.add_argument("--minutes", type=float, default=1.0, help="for each target")
    parser.add_argument("--seed", type=int, default=int(time.time()) // DAY * SEEDS_OF_A_DAY)
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    targets = []
    for fuzzer, names in FUZZERS.items():
        program = os.path.join(options.build, "test", "fuzz", fuzzer)
        if os.path.exists(program):
            targets += [(program, name) for name in names]
        else:
            print(f"{fuzzer} is not built")

    begin = time.monotonic()
    with ThreadPoolExecutor(options.jobs) as pool:
        results = list(
            pool.map(lambda t: fuzz(*t, options.seed, options.minutes * 60), targets)
        )
    found = sum(bad for _, bad in results)
    print(
        f"{len(targets)} targets from seed {options.seed}, {sum(runs for runs, _ in results)} inputs, "
        f"{found} failures, {(time.monotonic() - begin) / 60:.1f} minutes"
    )
    return 1 if found or not targets else 0


sys.exit(main())
