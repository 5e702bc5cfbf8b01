"""A process that forks one worker for each request, so that a kill costs no start of Python.

Reads one JSON request a line: what to play, and what to do at which failpoint. Prints JSON lines:
the worker's process id, what it acknowledged, and how it ended.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import threading
import traceback
from pathlib import Path

from tests.vecstore.crash_story import STORY, play, write_rows
from vecstore.storage.failpoints import Failpoint, arm, parse


def say(**what) -> None:
    os.write(1, (json.dumps(what) + "\n").encode())


def work(request) -> None:
    """Play the actions; every point that is passed is written down before it acts."""
    armed = parse(request["failpoint"]) if request["failpoint"] else lambda *_: None
    trace = os.open(request["trace"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def action(point: Failpoint, what: str) -> None:
        os.write(trace, f"{threading.get_ident()}\t{point}\t{what}\n".encode())
        armed(point, what)

    arm(action)
    say(started=os.getpid())
    play(
        request["place"],
        Path(request["data"]),
        Path(request["folder"]),
        range(request["first"], request["last"] + 1),
        lambda version: say(acknowledged=version),
        **request["options"],
    )


def main() -> None:
    # What is imported or compiled on first use is so for every worker from here on. The store of
    # words and the filters keep threads, which a fork would lose: they start in the workers.
    with tempfile.TemporaryDirectory() as folder:
        write_rows(Path(folder, "rows.jsonl"))
        last = next(n for n, act in enumerate(STORY) if act.name == "fill caches")
        play(str(Path(folder, "s")), Path(folder, "s"), Path(folder), range(last), lambda _: None)
    import duckdb  # noqa: F401
    import tantivy  # noqa: F401

    say(ready=True)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            try:
                work(json.loads(line))
            finally:
                # Not the server's end: its buffers and temporary folders are not the worker's.
                if (error := sys.exc_info()[1]) is not None:
                    traceback.print_exception(error)
                os._exit(error is not None)
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        say(ended=code, killed=code == -signal.SIGKILL)


if __name__ == "__main__":
    main()
