"""A door before a server: it passes bytes on, and ends with its process while the server keeps what it has."""

from __future__ import annotations

import sys

_DOOR = """
import asyncio, sys
host, port, server = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])

async def carry(reader, writer):
    try:
        while data := await reader.read(1 << 18):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
    except OSError:
        pass

async def serve(reader, writer):
    try:
        beyond, to = await asyncio.open_connection(host, server)
    except OSError:
        return writer.close()
    await asyncio.gather(carry(reader, to), carry(beyond, writer))
    to.close()
    writer.close()

async def main():
    async with await asyncio.start_server(serve, host, port) as door:
        await door.serve_forever()

asyncio.run(main())
"""


def door_command(host: str, port: int, server: int) -> list[str]:
    """A door at ``port`` of ``host`` before the server at another port of it."""
    return [sys.executable, "-c", _DOOR, host, str(port), str(server)]
