# SPDX-License-Identifier: MIT
"""The echo server of bench_echo, with asyncio's streams, or the same on uvloop.

Its arguments are a port, 0 for any, and "uvloop" if that is to be the loop; it prints the port that it listens on. Both
loops set TCP_NODELAY themselves.
"""

import asyncio
import sys

BUFFER = 32 * 1024
BACKLOG = 4096


async def echo(reader, writer):
    try:
        while data := await reader.read(BUFFER):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


async def serve(port):
    server = await asyncio.start_server(echo, "127.0.0.1", port, backlog=BACKLOG)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def main():
    if len(sys.argv) not in (2, 3) or sys.argv[2:] not in ([], ["uvloop"]):
        sys.exit("usage: echo.py PORT [uvloop]")
    if len(sys.argv) == 3:
        import uvloop

        uvloop.install()
    asyncio.run(serve(int(sys.argv[1])))


main()
