# SPDX-License-Identifier: MIT
"""What bench_spawn measures, with asyncio, on its own loop or uvloop's.

Its arguments are a row's name, how many batches of tasks to measure, and `uvloop` if that is wanted; it prints
nanoseconds per task, and fails when its counts do not add up.
"""

import asyncio
import sys
import time

RESULT = 3  # of each
BATCHES = {"one": 1, "batch": 1000}


async def run(size, batches):
    """How many have run, and the sum of their results."""
    ran = total = 0

    async def body():
        nonlocal ran
        ran += 1
        return RESULT

    for _ in range(batches):
        if size == 1:
            total += await asyncio.create_task(body())
        else:
            tasks = [asyncio.create_task(body()) for _ in range(size)]
            total += sum(await asyncio.gather(*tasks))
    return ran, total


async def measure(size, batches):
    count = size * batches
    await run(size, batches // 10 + 1)
    began = time.perf_counter_ns()
    ran, total = await run(size, batches)
    took = time.perf_counter_ns() - began
    if (ran, total) != (count, count * RESULT):
        sys.exit(f"{ran} tasks instead of {count}, or other results")
    print(took / count)


def main():
    new_loop = None
    arguments = sys.argv[1:]
    if arguments[2:] == ["uvloop"]:
        import uvloop

        new_loop = uvloop.new_event_loop
        arguments.pop()
    if len(arguments) != 2 or arguments[0] not in BATCHES or int(arguments[1]) < 1:
        sys.exit("usage: spawn.py ROW BATCHES [uvloop]")
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(measure(BATCHES[arguments[0]], int(arguments[1])))


main()
