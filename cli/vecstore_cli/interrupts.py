"""Ctrl-C, remembered: an interrupted command never ends as if nobody had asked it to stop.

Python raises KeyboardInterrupt in whatever it is doing. Inside a destructor, or a callback of a
weak reference as imports have them, the exception is printed and lost, and the command goes on.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import ParamSpec, Self, final

import click

__all__ = ["Interrupts", "interruptible"]

What = ParamSpec("What")


@final
class Interrupts:
    """Whether Ctrl-C was pressed while a command ran.

    Nothing is done where somebody else decides about it: in a thread, or where the process was
    told to ignore it.
    """

    def __init__(self) -> None:
        self.came = False
        self._installed = False

    def __enter__(self) -> Self:
        ours = threading.current_thread() is threading.main_thread()
        if ours and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._interrupt)
            self._installed = True
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        if self._installed:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def note(self) -> None:
        """Remember one that a command has dealt with in its own way."""
        self.came = True

    def _interrupt(self, _signal: int, _frame: FrameType | None) -> None:
        self.came = True
        raise KeyboardInterrupt


def interruptible(tell: Callable[What, None] | None) -> Callable[What, None]:
    """Return a callback for progress that raises an interrupt again if it was lost."""
    interrupts = click.get_current_context().find_object(Interrupts)

    def told(*args: What.args, **kwargs: What.kwargs) -> None:
        if interrupts is not None and interrupts.came:
            raise KeyboardInterrupt
        if tell is not None:
            tell(*args, **kwargs)

    return told
