"""A worker process of the demo: `python worker.py SCHEMA`, with the database's DSN in the environment."""

from __future__ import annotations

import asyncio
import os
import sys
import threading

from pgwerk import AsyncWorker, Werk


def end_with_parent() -> None:
    os.read(0, 1)  # returns when the demo closes our standard input, or dies
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=end_with_parent, daemon=True).start()
    # Rescues are logged as warnings, and would get in the way of the progress bar.
    app = Werk(os.environ["DEMO_DSN"], schema=sys.argv[1], log_level="ERROR")
    # A worker's lease is three heartbeats long. When it has run out, the others rescue the worker's jobs: here after
    # 3 seconds, because we are watching; by default after 30.
    worker = AsyncWorker(app, concurrency=8, heartbeat_interval=1)
    print(worker.id, flush=True)  # for the demo, which wants to know which jobs run in this process
    asyncio.run(worker.run())
