# SPDX-License-Identifier: MIT
"""What bench_memory measures, with asyncio.

Its arguments are a row's name and how many tasks to park. For "parked" it prints the bytes that each takes, and the
microseconds of its creation and of its end; for "ended" what is left of their memory when they have ended, and later,
in percent and in KiB. It fails when its counts do not add up.
"""

import asyncio
import sys
import time

PAUSES = {"parked": 0, "ended": 5, "ended-quick": 0.1}  # seconds


def kib(path, name):
    """The number of KiB behind a name in a file of /proc."""
    with open(path, encoding="ascii") as file:
        for line in file:
            if line.startswith(name):
                return int(line.split()[1])
    sys.exit(f"{path} has no {name}")


def memory():
    return 1024 * (kib("/proc/self/smaps_rollup", "Rss:") + kib("/proc/self/status", "VmPTE:"))


async def measure(count):
    """The bytes at the start and with all of them, and the seconds of their creation and end."""
    arrived = ended = 0
    release = asyncio.get_running_loop().create_future()
    all_parked = asyncio.Event()

    async def parked():
        nonlocal arrived, ended
        arrived += 1
        if arrived == count:
            all_parked.set()
        await release
        ended += 1

    memory()  # what reading it takes is there from now on
    start = memory()
    began = time.perf_counter()
    tasks = [asyncio.create_task(parked()) for _ in range(count)]
    await all_parked.wait()
    created = time.perf_counter() - began
    full = memory()

    began = time.perf_counter()
    release.set_result(None)
    for task in tasks:
        await task
    torn = time.perf_counter() - began
    if arrived != count or ended != count:
        sys.exit(f"{arrived} came and {ended} left of {count}")
    return start, full, created, torn


async def main():
    if len(sys.argv) != 3 or sys.argv[1] not in PAUSES or int(sys.argv[2]) < 1:
        sys.exit("usage: memory.py ROW COUNT")
    pause, count = PAUSES[sys.argv[1]], int(sys.argv[2])
    start, full, created, torn = await measure(count)
    if pause == 0:
        print((full - start) / count, created * 1e6 / count, torn * 1e6 / count)
        return
    left = [memory() - start]
    await asyncio.sleep(pause)
    left.append(memory() - start)
    left = [max(size, 4096) for size in left]  # so that it can be divided by
    print(*(100 * size / (full - start) for size in left), *(size / 1024 for size in left))


asyncio.run(main())
