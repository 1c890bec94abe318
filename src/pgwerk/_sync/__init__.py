# Generated from src/pgwerk/_async/__init__.py by `python tools/unasync_build.py`.
# Do not edit: change that file and run the command again.

"""The client: `SyncWerk`, and what it is made of."""
