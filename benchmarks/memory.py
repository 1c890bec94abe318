"""Memory and imports: what a process takes up that has pgwerk in it, and what `import pgwerk` takes.

Memory is what is resident after the last job, in a process that has nothing in it but a worker; the floor is one that
has connected with psycopg. The time of an import is that of the whole interpreter, from its start to its end, once with
it and once without, in turns.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from benchmarks import drain, tables
from benchmarks.measuring import MILLISECONDS, Apart, Case, InTurns, Measured, Side, Sizes, Unit

MEGABYTES = Unit(name="MB", more_is_better=False)
MODULES = Unit(name="modules", more_is_better=False)
JOBS = 50_000
CONCURRENCY = 500
MEMORY_AIM_MB = 80.0
TURNS = 20
IMPORT_AIM_MS = 120.0
HEAVY = ("asyncio", "croniter", "pgwerk.worker")
"""What need not be there before a job runs."""

_ROOT = Path(__file__).parent.parent
_CONNECTED = """
import asyncio, sys
import psycopg
async def main():
    async with await psycopg.AsyncConnection.connect(sys.argv[1]) as connection:
        await connection.execute("SELECT 1")
asyncio.run(main())
"""
_PRINT_MEMORY = """
status = open("/proc/self/status").read()
print(status.split("VmRSS:")[1].split()[0])
"""
_PRINT_HEAVY = f"import sys; print(*[name for name in {HEAVY} if name in sys.modules], sep=', ')"


def cases(sizes: Sizes) -> Iterable[Case]:
    """Memory, the time of an import, and what it imports."""
    yield Case(
        name=f"memory of a worker, concurrency {CONCURRENCY}",
        unit=MEGABYTES,
        beside="psycopg",
        sides=Apart(
            floor=Side(prepare=tables.empty_floor, measure=memory_of_connection),
            ours=Side(prepare=drain.load_ours, measure=memory_of_worker),
        ),
        params={"jobs": sizes.jobs or JOBS},
        aim=MEMORY_AIM_MB,
    )
    yield Case(
        name="import pgwerk",
        unit=MILLISECONDS,
        beside="python",
        sides=InTurns(prepare=[], measure=import_in_turns),
        aim=IMPORT_AIM_MS,
    )
    yield Case(
        name=f"imported: {', '.join(HEAVY)}",
        unit=MODULES,
        beside="python",
        sides=Apart(
            floor=Side(prepare=tables.empty_floor, measure=modules_of_nothing),
            ours=Side(prepare=tables.empty_ours, measure=modules_of_pgwerk),
        ),
        aim=0.0,
    )


async def memory_of_connection(dsn: str, **_: object) -> float:
    """Megabytes of a process that has connected."""
    return int(await _python("-c", _CONNECTED + _PRINT_MEMORY, dsn)) / 1000


async def memory_of_worker(dsn: str, *, jobs: int) -> Measured:
    """Megabytes of a worker process after its last job."""
    left, most = map(int, (await _python("-m", "benchmarks.alone", dsn, str(CONCURRENCY))).split())
    await drain.check(dsn, jobs)
    return Measured(figure=left / 1000, note=f"{most / 1000:.0f} MB at most")


async def import_in_turns(dsn: str) -> list[tuple[float, float]]:  # noqa: ARG001 - no database is needed
    """Milliseconds of an interpreter without and with it."""
    await _python("-c", "import pgwerk")
    return [(await _python_ms("pass"), await _python_ms("import pgwerk")) for _ in range(TURNS)]


async def modules_of_nothing(dsn: str) -> float:  # noqa: ARG001 - no database is needed
    """How many of them are there anyway."""
    return _count(await _python("-c", _PRINT_HEAVY))


async def modules_of_pgwerk(dsn: str) -> Measured:  # noqa: ARG001 - no database is needed
    """How many of them pgwerk brings along, and which."""
    names = await _python("-c", f"import pgwerk; {_PRINT_HEAVY}")
    return Measured(figure=_count(names), note=names)


def _count(names: str) -> float:
    return len(names.split(", ")) if names else 0


async def _python_ms(code: str) -> float:
    began = time.perf_counter()
    await _python("-c", code)
    return 1000 * (time.perf_counter() - began)


async def _python(*arguments: str) -> str:
    """What an interpreter prints."""
    # What is imported has been compiled, as what is installed has.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, cwd=_ROOT, env=environment, stdout=asyncio.subprocess.PIPE
    )
    printed, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"python {arguments[0]} has ended with exit code {process.returncode}")
    return printed.decode().strip()
