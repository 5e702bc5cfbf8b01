"""Patience with a remote endpoint: how long to wait before trying again, and between requests."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import final

from vecstore.errors import InvalidArgumentError

__all__ = ["Pace", "delay_before_retry", "retry_after"]

_LONGEST_DELAY = 60.0


@final
class Pace:
    """Spaces requests evenly, so that no minute sees more than so many. Thread-safe."""

    def __init__(self, per_minute: float | None) -> None:
        if per_minute is not None and not per_minute > 0:
            raise InvalidArgumentError(
                f"expected requests_per_minute to be above 0, got {per_minute}"
            )
        self._interval = 0.0 if per_minute is None else 60.0 / per_minute
        self._lock = threading.Lock()
        self._next = 0.0

    def wait(self) -> None:
        """Return when the next request may go out."""
        if not self._interval:
            return
        with self._lock:
            now = time.monotonic()
            at = max(now, self._next)
            self._next = at + self._interval
        time.sleep(at - now)


def delay_before_retry(attempt: int, *, base: float) -> float:
    """Return seconds to wait after a failed attempt, counted from 0.

    Doubles from ``base`` up to a minute. Half of it is random, so that the clients of an endpoint
    that was down do not come back all at once.
    """
    ceiling = min(base * 2.0**attempt, _LONGEST_DELAY)
    return ceiling * random.uniform(0.5, 1.0)  # no secret depends on it


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return for how many seconds a response asks to be left alone; None if it does not.

    References
    ----------
    RFC 9110, section 10.2.3: seconds, or an HTTP date. ``retry-after-ms`` is OpenAI's own.
    """
    for name, scale in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        try:
            return max(float(headers[name]) * scale, 0.0)
        except (KeyError, ValueError):
            continue
    try:
        date = parsedate_to_datetime(headers["retry-after"])
    except (KeyError, ValueError):
        return None
    aware = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max((aware - datetime.now(UTC)).total_seconds(), 0.0)
