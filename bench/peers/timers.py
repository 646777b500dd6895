# SPDX-License-Identifier: MIT
"""What bench_timers measures, with asyncio.

Its arguments are a row's name and how many timers; "uvloop" as a third one runs all of it on uvloop. It prints the row's
numbers, and fails when its counts do not add up.
"""

import asyncio
import random
import sys
import time

SLEEP_MAX = 1  # seconds
SLEEP_MAX_QUICK = 0.02
ARM_LEAST = 10
ARM_MAX = 60
SHORT_LENGTH = 0.001


async def crowd(count, longest=SLEEP_MAX):
    started = 0
    lateness = []
    release = asyncio.get_running_loop().create_future()
    all_started = asyncio.Event()

    async def sleeper(length):
        nonlocal started
        started += 1
        if started == count:
            all_started.set()
        await release
        began = time.monotonic()
        await asyncio.sleep(length)
        lateness.append((time.monotonic() - began - length) * 1e6)

    tasks = [asyncio.create_task(sleeper(random.random() * longest)) for _ in range(count)]
    await all_started.wait()
    processor = time.process_time()
    release.set_result(None)
    for task in tasks:
        await task
    processor = time.process_time() - processor

    done = len(lateness)
    early = max(0, -min(lateness))
    off = sorted(abs(late) for late in lateness)
    print(processor * 1e6 / count, off[done // 2], off[done * 99 // 100], off[-1], early)
    return done


def pairs_pass(lengths):
    loop = asyncio.get_running_loop()
    ran = []
    handles = [loop.call_later(length, ran.append, None) for length in lengths]
    for handle in handles:
        handle.cancel()
    return sum(handle.cancelled() for handle in handles) - len(ran)


async def pairs(count):
    lengths = [random.uniform(ARM_LEAST, ARM_MAX) for _ in range(count)]
    pairs_pass(lengths)
    await asyncio.sleep(0)
    began = time.perf_counter_ns()
    cancelled = pairs_pass(lengths)
    print((time.perf_counter_ns() - began) / count)
    return cancelled


async def short(count):
    total = 0
    for _ in range(count):
        began = time.monotonic()
        await asyncio.sleep(SHORT_LENGTH)
        total += (time.monotonic() - began - SHORT_LENGTH) * 1e6
    print(total / count)
    return count


def main():
    rows = {
        "crowd": crowd,
        "crowd-quick": lambda count: crowd(count, SLEEP_MAX_QUICK),
        "pairs": pairs,
        "short": short,
    }
    if len(sys.argv) not in (3, 4) or sys.argv[1] not in rows:
        sys.exit("usage: timers.py ROW COUNT [uvloop]")
    if len(sys.argv) == 4:
        import uvloop

        uvloop.install()
    count = int(sys.argv[2])
    done = asyncio.run(rows[sys.argv[1]](count))
    if done != count:
        sys.exit(f"{done} timers instead of {count}")


main()
