# SPDX-License-Identifier: MIT
"""What bench_fetch measures, with httpx and aiohttp.

Its arguments are what to measure, a URL, the size of its page, how many connections, tasks and requests there are to
be, and the library: "httpx", "httpx-sync" (one request after the other), "aiohttp", or "uvloop" for aiohttp on that.
For "fetch" it prints requests a second and the microseconds of processor time that each takes, after a request on each
connection that is not measured; for "ticks" how many milliseconds a task was late that slept 1 ms over and over: half,
99 of 100, and all. It fails when an answer is wrong.
"""

import asyncio
import contextlib
import resource
import sys
import time

TICK = 0.001


def processor():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def page_check(status, page, size):
    """As nginx_page_check()."""
    if status != 200 or len(page) != size or any(
        page[i] != ord("a") + i % 23 for i in (0, size // 2, size - 1)
    ):
        sys.exit("a wrong answer")


@contextlib.asynccontextmanager
async def httpx_client(url, size, connections):
    import httpx

    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
    async with httpx.AsyncClient(limits=limits, timeout=None, trust_env=False) as client:

        async def get():
            response = await client.get(url)
            page_check(response.status_code, response.content, size)

        yield get


@contextlib.asynccontextmanager
async def aiohttp_client(url, size, connections):
    import aiohttp

    connector = aiohttp.TCPConnector(limit=connections)
    timeout = aiohttp.ClientTimeout()
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:

        async def get():
            async with session.get(url) as response:
                page_check(response.status, await response.read(), size)

        yield get


async def fetch(get, tasks, requests):
    left = requests

    async def worker():
        nonlocal left
        while left > 0:
            left -= 1
            await get()

    await asyncio.gather(*(worker() for _ in range(tasks)))


async def tick(lateness):
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + TICK
        await asyncio.sleep(TICK)
        lateness.append(loop.time() - due)


def figures_print(requests, began, used):
    seconds = time.perf_counter() - began
    print(requests / seconds, (processor() - used) / requests * 1e6)


async def measure(get, connections, tasks, requests):
    await fetch(get, connections, connections)
    used, began = processor(), time.perf_counter()
    await fetch(get, tasks, requests)
    figures_print(requests, began, used)


async def measure_ticks(get, tasks, requests):
    lateness = []
    ticker = asyncio.create_task(tick(lateness))
    await fetch(get, tasks, requests)
    ticker.cancel()
    lateness.sort()
    print(*(lateness[min(int(part * len(lateness)), len(lateness) - 1)] * 1e3 for part in (0.5, 0.99, 1)))


def measure_sync(url, size, requests):
    import httpx

    with httpx.Client(timeout=None, trust_env=False) as client:
        for done in range(1 + requests):
            if done == 1:
                used, began = processor(), time.perf_counter()
            response = client.get(url)
            page_check(response.status_code, response.content, size)
        figures_print(requests, began, used)


async def main(what, url, size, connections, tasks, requests, client):
    async with client(url, size, connections) as get:
        if what == "ticks":
            await measure_ticks(get, tasks, requests)
        else:
            await measure(get, connections, tasks, requests)


def run():
    clients = {"httpx": httpx_client, "httpx-sync": None, "aiohttp": aiohttp_client, "uvloop": aiohttp_client}
    if len(sys.argv) != 8 or sys.argv[1] not in ("fetch", "ticks") or sys.argv[7] not in clients:
        sys.exit("usage: fetch.py fetch|ticks URL SIZE CONNECTIONS TASKS REQUESTS LIBRARY")
    what, url, library = sys.argv[1], sys.argv[2], sys.argv[7]
    size, connections, tasks, requests = map(int, sys.argv[3:7])
    if library == "httpx-sync":
        measure_sync(url, size, requests)
        return
    if library == "uvloop":
        import uvloop

        uvloop.install()
    asyncio.run(main(what, url, size, connections, tasks, requests, clients[library]))


run()
