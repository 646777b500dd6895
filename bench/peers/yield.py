# SPDX-License-Identifier: MIT
"""What bench_yield measures, with asyncio, on its own loop or uvloop's.

Its arguments are how many tasks there are, how many laps to measure, and `uvloop` if that is wanted; it prints
nanoseconds per switch, and fails when its counts do not add up, or the tasks do not end in the order in which they
began.
"""

import asyncio
import sys
import time

WARM_LAPS = 2


class Course:
    def __init__(self, laps):
        self.laps = laps
        self.began = self.ended = 0
        self.order = []
        self.yields = 0


async def run(course, index):
    yields = 0
    for _ in range(WARM_LAPS):
        await asyncio.sleep(0)
        yields += 1
    if index == 0:
        course.began = time.perf_counter_ns()
    for _ in range(course.laps):
        await asyncio.sleep(0)
        yields += 1
    if index == 0:
        course.ended = time.perf_counter_ns()
    course.yields += yields
    course.order.append(index)


async def measure(runners, laps):
    course = Course(laps)
    tasks = [asyncio.create_task(run(course, index)) for index in range(runners)]
    for task in tasks:
        await task
    if course.yields != runners * (WARM_LAPS + laps) or course.order != list(range(runners)):
        sys.exit(f"{course.yields} yields instead of {runners * (WARM_LAPS + laps)}, or another order")
    print((course.ended - course.began) / (runners * laps))


def main():
    new_loop = None
    arguments = sys.argv[1:]
    if arguments[2:] == ["uvloop"]:
        import uvloop

        new_loop = uvloop.new_event_loop
        arguments.pop()
    if len(arguments) != 2 or min(map(int, arguments)) < 1:
        sys.exit("usage: yield.py TASKS LAPS [uvloop]")
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(measure(*map(int, arguments)))


main()
