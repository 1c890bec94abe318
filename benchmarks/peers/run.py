"""Have a peer do some work, and print what was measured: `python -m benchmarks.peers.run MODULE WORK [OPTIONS]`."""

from __future__ import annotations

import argparse
import json
from importlib import import_module

from benchmarks.peers import common


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser()
    parser.add_argument("module")
    parser.add_argument("work", choices=common.WORKS)
    parser.add_argument("--jobs", type=int)
    parser.add_argument("--concurrency", type=int)
    parser.add_argument("--percent", type=int)
    options = vars(parser.parse_args())
    # Not run itself: a queue may care for where its tasks come from.
    peer: common.Peer = import_module(f"benchmarks.peers.{options.pop('module')}").PEER
    work = common.WORKS[options.pop("work")]
    given = {name: value for name, value in options.items() if value is not None}
    print(json.dumps(peer.run(work(peer, **given))))


if __name__ == "__main__":
    main()
