#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The programs of a build, each under many seeds: what one order of the tasks hides, another shows.

usage: seeds.py BUILD [--seeds 1-100] [--suite SUITE ...] [--test PATTERN] [--jobs N] [--time LIMIT]
                      [--limit SECONDS] [--stop-after FAILURES] [--list]

UCO_SEED gives each loop that has no seed of its own the order of its ready tasks. Each program runs
under the first seed, then each under the second, and so on, until the seeds or the time (90, 10m, 2h)
are over. What fails is shown, with the command that does the same once more. A fuzzer has its inputs
from the seed.

Exit status: 0, 1 when something has failed, 2 for a call that makes no sense.
"""

import argparse
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time

SUITES = ("core", "task", "sync", "io", "http", "fuzz", "examples", "ufetch", "torture")
WITHOUT = ("mutants", "libfuzzer")  # a build each, and inputs of its own
SKIPPED = 77  # meson's exit status for a test that could not run
LIMIT = 300.0  # seconds, for a program that does not say
GRACE = 5.0  # seconds, for libcheck to end its children
FUZZ_RUNS = 50  # inputs of a fuzzer, for a seed
SHOWN = 40  # last lines of what a failure said
SANITIZERS = {
    "ASAN_OPTIONS": "halt_on_error=1:abort_on_error=1:print_summary=1",
    "UBSAN_OPTIONS": "halt_on_error=1:abort_on_error=1:print_summary=1:print_stacktrace=1",
}


class Program:
    """A test of the build's, as meson has written it down."""

    def __init__(self, test):
        self.name = test["name"]
        self.suites = [suite.rpartition(":")[2] for suite in test["suite"]]
        self.command = test["cmd"]
        self.folder = test["workdir"]
        self.environment = test["env"]
        self.limit = float(test["timeout"])

    def command_of(self, seed):
        """A fuzzer has no use for UCO_SEED: its inputs follow from its own seed."""
        command = list(self.command)
        if "--seed" not in command:
            return command
        command[command.index("--seed") + 1] = str(seed * FUZZ_RUNS)
        if "--seconds" in command:
            at = command.index("--seconds")
            command[at : at + 2] = ["--runs", str(FUZZ_RUNS)]
        return command

    def variables_of(self, seed):
        """What glibc gives and takes back is filled with something else under each seed."""
        return {**self.environment, "UCO_SEED": str(seed), "MALLOC_PERTURB_": str(seed % 255 + 1)}

    def replay_of(self, seed):
        words = [f"{name}={shlex.quote(value)}" for name, value in self.variables_of(seed).items()]
        command = " ".join(words + [shlex.quote(word) for word in self.command_of(seed)])
        return f"(cd {shlex.quote(self.folder)} && {command})" if self.folder else command


def programs_of(build, suites, pattern):
    with open(os.path.join(build, "meson-info", "intro-tests.json"), encoding="utf-8") as file:
        programs = [Program(test) for test in json.load(file)]
    return [
        program
        for program in programs
        if program.name not in WITHOUT
        and any(suite in suites for suite in program.suites)
        and re.search(pattern, program.name)
    ]


def end(process):
    """libcheck ends the test that it has forked, which is in a process group of its own."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        pass
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


class Runs:
    def __init__(self, programs, seeds, options):
        self.jobs = ((program, seed) for seed in seeds for program in programs)
        self.limit = options.limit
        self.until = time.monotonic() + options.time if options.time else None
        self.stop_after = options.stop_after
        self.lock = threading.Lock()
        self.runs = self.skipped = self.failures = 0
        self.last = None  # the seed that was begun last

    def next(self):
        with self.lock:
            if self.until is not None and time.monotonic() > self.until:
                return None
            if self.stop_after and self.failures >= self.stop_after:
                return None
            job = next(self.jobs, None)
            self.last = job[1] if job else self.last
            return job

    def run(self, program, seed):
        limit = self.limit or program.limit or LIMIT
        with tempfile.TemporaryFile() as output:
            try:
                process = subprocess.Popen(
                    program.command_of(seed),
                    cwd=program.folder,
                    env={**SANITIZERS, **os.environ, **program.variables_of(seed)},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
                status = process.wait(limit)
                what = f"ended with {status}" if status >= 0 else signal.Signals(-status).name
            except OSError as error:
                status, what = -1, f"does not start: {error}"
            except subprocess.TimeoutExpired:
                end(process)
                status, what = -1, f"did not end in {limit:.0f} s"
            output.seek(0)
            text = output.read().decode(errors="replace")
        with self.lock:
            self.runs += 1
            self.skipped += status == SKIPPED
            if status not in (0, SKIPPED):
                self.failures += 1
                self.show(program, seed, what, text)

    def show(self, program, seed, what, text):
        print(f"\n{program.name}, seed {seed}: {what}")
        for line in text.splitlines()[-SHOWN:]:
            print(f"    {line}")
        print(f"the same again: {program.replay_of(seed)}", flush=True)

    def work(self):
        while (job := self.next()) is not None:
            self.run(*job)


def seeds_of(text):
    """1-100, or 7, or 1-5,9."""
    seeds = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        seeds += range(int(first), int(last or first) + 1)
    if not seeds or min(seeds) < 1:
        raise argparse.ArgumentTypeError("seeds are numbers from 1 on: 1-100")
    return seeds


def seconds_of(text):
    return float(text.rstrip("smh")) * {"m": 60, "h": 3600}.get(text[-1], 1)


def options_of(arguments):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("build", help="a build directory, which is up to date")
    parser.add_argument("--seeds", type=seeds_of, default="1-10")
    parser.add_argument("--suite", nargs="+", default=list(SUITES), choices=SUITES)
    parser.add_argument("--test", default="", help="a regular expression for the names")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--time", type=seconds_of, default=0.0, help="for all runs")
    parser.add_argument("--limit", type=float, default=0.0, help="seconds for one run")
    parser.add_argument("--stop-after", type=int, default=0, metavar="FAILURES")
    parser.add_argument("--list", action="store_true", help="the programs, and nothing else")
    return parser.parse_args(arguments)


def main():
    options = options_of(sys.argv[1:])
    programs = programs_of(options.build, options.suite, options.test)
    if not programs:
        print("there is no such program in this build")
        return 2
    if options.list:
        print("\n".join(program.name for program in programs))
        return 0

    runs = Runs(programs, options.seeds, options)
    begin = time.monotonic()
    workers = [threading.Thread(target=runs.work) for _ in range(max(1, options.jobs))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    print(
        f"{len(programs)} programs, seeds {options.seeds[0]} to {runs.last}, {runs.runs} runs, "
        f"{runs.skipped} skipped, {runs.failures} failures, {time.monotonic() - begin:.0f} s"
    )
    return 1 if runs.failures or runs.runs == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
