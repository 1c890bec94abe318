"""Values and decisions: no I/O, no clock of its own, no psycopg, no asyncio."""
