"""A worker in a process that has nothing else in it: `python -m benchmarks.alone DSN CONCURRENCY`.

It drains the queue and prints how much memory it has then, and how much it had at most, in kilobytes. This reads /proc,
so it needs Linux.
"""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

from pgwerk import AsyncWorker, Werk


async def main(dsn: str, concurrency: int) -> None:
    """Drain the queue, and print."""
    async with Werk(dsn) as app:
        await AsyncWorker(app, concurrency=concurrency, burst=True).run()
        print(*memory())


def memory() -> tuple[int, int]:
    """Kilobytes that are resident, and the most that have been."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    found = dict(re.findall(r"(VmRSS|VmHWM):\s+(\d+) kB", status))
    return int(found["VmRSS"]), int(found["VmHWM"])


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
