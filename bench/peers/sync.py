# SPDX-License-Identifier: MIT
"""What bench_sync measures, with asyncio.

Its arguments are a row's name and how many units of work to measure; it prints nanoseconds per operation, and fails
when its counts do not add up.
"""

import asyncio
import sys
import time

MEMBERS = 1000  # of a group
CAPACITY = 64  # of a queue that never blocks


async def lock(units):
    mutex = asyncio.Lock()
    counter = 0
    for _ in range(units):
        await mutex.acquire()
        counter += 1
        mutex.release()
    return counter


async def event(units):
    """There and back is two messages."""
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
    items = asyncio.Queue(CAPACITY)
    right = 0
    for i in range(units):
        await items.put(i)
        right += await items.get() == i
    return right


async def handover(units):
    items = asyncio.Queue(1)
    right = 0

    async def putter():
        for i in range(units):
            await items.put(i)

    task = asyncio.create_task(putter())
    for i in range(units):
        right += await items.get() == i
    await task
    return right


async def scope(units):
    alive = 0
    for _ in range(units):
        async with asyncio.timeout(1) as inside:
            alive += not inside.expired()
    return alive


async def group(units):
    ran = 0

    async def member():
        nonlocal ran
        ran += 1

    for _ in range(units):
        async with asyncio.TaskGroup() as members:
            for _ in range(MEMBERS):
                members.create_task(member())
    return ran


# How many operations there are in a unit.
ROWS = {lock: 1, event: 2, queue: 1, handover: 1, scope: 1, group: MEMBERS}


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
    if len(sys.argv) != 3 or sys.argv[1] not in rows or int(sys.argv[2]) < 1:
        sys.exit("usage: sync.py ROW UNITS")
    asyncio.run(measure(rows[sys.argv[1]], int(sys.argv[2])))


main()
