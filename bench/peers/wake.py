# SPDX-License-Identifier: MIT
"""What bench_wake measures, with asyncio, on its own loop or on uvloop's.

Its arguments are a row's name, how many units of work to measure, and the loop; it prints
nanoseconds per operation, and fails when its counts do not add up.
"""

import asyncio
import sys
import time

TASKS = 1000  # that are gathered

# There and back is two messages.


async def event(units):
    there, back = asyncio.Event(), asyncio.Event()
    messages = 0

    async def partner():
        nonlocal messages
        for _ in range(units):
            await there.wait()
            there.clear()
            messages += 1
            back.set()

    task = asyncio.create_task(partner())
    for _ in range(units):
        there.set()
        await back.wait()
        back.clear()
        messages += 1
    await task
    return messages


async def queue(units):
    there, back = asyncio.Queue(1), asyncio.Queue(1)
    right = 0

    async def partner():
        nonlocal right
        for i in range(units):
            item = await there.get()
            right += item == i
            await back.put(item)

    task = asyncio.create_task(partner())
    for i in range(units):
        await there.put(i)
        item = await back.get()
        right += item == i
    await task
    return right


async def gather(units):
    right = 0

    async def member(k):
        await asyncio.sleep(0)
        return k

    for _ in range(units):
        results = await asyncio.gather(*(member(k) for k in range(TASKS)))
        right += sum(result == k for k, result in enumerate(results))
    return right


# How many operations there are in a unit.
ROWS = {event: 2, queue: 2, gather: TASKS}


async def measure(run, units):
    await run(units // 10 + 1)
    began = time.perf_counter_ns()
    operations = await run(units)
    took = time.perf_counter_ns() - began
    if operations != units * ROWS[run]:
        sys.exit(f"{operations} operations instead of {units * ROWS[run]}")
    print(took / operations)


def main():
    rows = {run.__name__: run for run in ROWS}
    if len(sys.argv) != 4 or sys.argv[1] not in rows or int(sys.argv[2]) < 1:
        sys.exit("usage: wake.py ROW UNITS asyncio|uvloop")
    if sys.argv[3] == "uvloop":
        import uvloop

        uvloop.install()
    asyncio.run(measure(rows[sys.argv[1]], int(sys.argv[2])))


main()
