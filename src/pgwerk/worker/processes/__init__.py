"""Workers whose jobs run in processes of their own.

    worker ──starts──> nursery ──forks──> child, child, child ...
       │                  ▲ │
       │                  │ └ deaths                 (nursery.py)
       ├── fork, signal ──┘
       └── work ──> child ──> what came of it, log records

A worker has threads, and a process that has threads must not be forked: the child would inherit locks that nobody in it
is ever going to release. So the worker starts a fresh interpreter, the *nursery*: one thread, all that children need
already imported. It does nothing but fork children and tell how they died. It is their parent, so only it can signal
them without ever hitting another process that was given the same id.

Each child talks to the worker over a socket of its own: work comes in, and what came of it goes out while the worker
reads, so that nothing is too large. One child runs one thing at a time, on its main thread.

- `ForkWorker` has a child forked for each run. `ProcessWorker` keeps its children for many runs.
- A child that dies takes its own run with it and nothing else (`fates.py` says what it died of).
- The worker stops a run with SIGTERM, and with SIGKILL when that was to no avail. A SIGTERM that the worker has not
  ordered stops nothing: service managers send it to each process of a service while the worker still waits for its jobs
  (`stopping.py`).
- When the worker dies, the nursery stops all children. When the nursery dies, the worker kills the children and starts
  another nursery.
"""
