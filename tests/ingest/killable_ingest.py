"""Ingest in a process of its own that kills itself, with SIGKILL, at its n-th Python call.

Run as ``python killable_ingest.py '<json>'``; prints the report, or dies. ``kill_at`` 0 only
counts the calls.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import asdict
from typing import Any


def main() -> None:
    options = json.loads(sys.argv[1])
    import vecstore
    from vecstore_ingest import ingest

    calls = 0
    kill_at = options["kill_at"]

    def count(frame: Any, event: str, arg: Any) -> None:
        nonlocal calls
        if event in ("call", "c_call", "c_return"):
            calls += 1
            if calls == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    with vecstore.open(options["store"]) as store:
        docs = store.collection("docs")
        sys.setprofile(count)
        report = ingest(docs, options["files"], **options["ingest"])
        sys.setprofile(None)
    print(json.dumps({"calls": calls, "report": asdict(report)}))


if __name__ == "__main__":
    main()
