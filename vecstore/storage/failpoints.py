"""Failpoints: the moments between two steps of a durable write, by name.

Every write, sync, rename, deletion and SQL commit of the store passes one of them. A test arms
them to kill the process, to refuse as a disk does, or to wait; unarmed, a point costs one
comparison. A process of its own is armed by its environment::

    VECSTORE_FAILPOINTS="file.rename@3=kill"        the third time that it is reached
    VECSTORE_FAILPOINTS="sql.commit=ENOSPC"         every time
    VECSTORE_FAILPOINTS="file.sync=delay:0.1"       seconds
"""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import final

from vecstore.errors import InvalidArgumentError

__all__ = ["VARIABLE", "Action", "Failpoint", "arm", "armed", "parse", "reach"]

VARIABLE = "VECSTORE_FAILPOINTS"


@final
class Failpoint(StrEnum):
    """Where a durable write can be stopped; each is reached just before the step it names.

    Those in the past tense are reached when the step is done and nobody has been told.
    """

    FOLDER_MAKE = "folder.make"
    FOLDER_SYNC = "folder.sync"
    FILE_WRITE = "file.write"
    FILE_SYNC = "file.sync"
    FILE_RENAME = "file.rename"
    FILE_RENAMED = "file.renamed"
    FILE_REMOVE = "file.remove"
    TREE_REMOVE = "tree.remove"
    APPEND_WRITE = "append.write"
    APPEND_SYNC = "append.sync"
    SQL_BEGIN = "sql.begin"
    SQL_COMMIT = "sql.commit"
    SQL_COMMITTED = "sql.committed"
    LEXICAL_COMMIT = "lexical.commit"
    LEXICAL_COMMITTED = "lexical.committed"


Action = Callable[[Failpoint, str], None]
"""What an armed point does; it is told the point and the path, or what else is at stake."""

_action: Action | None = None


def reach(point: Failpoint, what: object = "") -> None:
    """Pass a point: nothing happens unless a test armed it."""
    if _action is not None:
        _action(point, str(what))


def arm(action: Action | None) -> None:
    """Let every point of this process call ``action`` from now on; None disarms them."""
    global _action
    _action = action


@contextmanager
def armed(action: Action | str) -> Iterator[None]:
    """Arm the points of this process, by an action or as the environment does, for a block."""
    before = _action
    arm(parse(action) if isinstance(action, str) else action)
    try:
        yield
    finally:
        arm(before)


def parse(text: str) -> Action:
    """Return the action that a specification ``POINT[@N]=kill|delay:SECONDS|ERRNO`` describes.

    ``*`` stands for every point; without ``@N`` a point acts each time it is reached.

    Raises
    ------
    InvalidArgumentError
        There is no such point, or no such action.
    """
    address, _, what = text.partition("=")
    name, _, number = address.partition("@")
    known = {str(point) for point in Failpoint}
    if name not in known | {"*"} or not (number.isdigit() or not number):
        raise InvalidArgumentError(
            f"{VARIABLE}: expected POINT[@N]=ACTION with a point of {', '.join(sorted(known))} "
            f"or *, got {text!r}"
        )
    act = _act(what)
    at = int(number or 0)
    lock = threading.Lock()
    reached = 0

    def action(point: Failpoint, path: str) -> None:
        nonlocal reached
        if name not in ("*", point):
            return
        with lock:
            reached += 1
            mine = at in (0, reached)
        if mine:
            act(path)

    return action


def _act(what: str) -> Callable[[str], None]:
    kind, _, argument = what.partition(":")
    if kind == "kill":
        return lambda _: os.kill(os.getpid(), signal.SIGKILL)
    if kind == "delay":
        seconds = float(argument)
        return lambda _: time.sleep(seconds)
    number = getattr(errno, kind, None)
    if not isinstance(number, int):
        raise InvalidArgumentError(
            f"{VARIABLE}: expected kill, delay:SECONDS or the name of an error such as ENOSPC, "
            f"got {what!r}"
        )

    def refuse(path: str) -> None:
        raise OSError(number, os.strerror(number), path)

    return refuse


if VARIABLE in os.environ:
    arm(parse(os.environ[VARIABLE]))
