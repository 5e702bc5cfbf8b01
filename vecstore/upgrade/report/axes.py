"""Scales, ticks and the frame of a chart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import final

from vecstore.upgrade.report.svg import Node, node

__all__ = ["Frame", "Scale", "moments", "round_ticks"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """Values ``low`` to ``high`` onto pixels ``start`` to ``end``.

    Examples
    --------
    >>> Scale(low=0, high=4, start=100, end=0)(1)
    75.0
    """

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Return the pixel of a value."""
        span = self.high - self.low
        share = (value - self.low) / span if span > 0 else 0.5
        return self.start + (self.end - self.start) * share


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """The box that marks are drawn in, with its grid and its labels."""

    left: float
    top: float
    right: float
    bottom: float

    def vertical_axis(
        self, root: Node, scale: Scale, ticks: Sequence[tuple[float, str]], label: str
    ) -> None:
        """Draw horizontal grid lines, their labels and, above the box, what they measure."""
        for value, text in ticks:
            y = scale(value)
            node("line", root, class_="grid", x1=self.left, x2=self.right, y1=y, y2=y)
            node("text", root, text=text, x=self.left - 8, y=y + 4, text_anchor="end")
        node("text", root, text=label, class_="axis", x=0, y=14)

    def horizontal_axis(
        self,
        root: Node,
        ticks: Sequence[tuple[float, str]],
        label: str,
        *,
        gap: tuple[float, float] | None = None,
    ) -> None:
        """Draw ticks at pixels below the box, their labels and, under them, what they measure.

        The line is interrupted at a gap: what lies on its two sides is not on one scale.
        """
        y = self.bottom
        for start, end in (
            [(self.left, gap[0]), (gap[1], self.right)] if gap else [(self.left, self.right)]
        ):
            node("line", root, class_="base", x1=start, x2=end, y1=y, y2=y)
        for x in gap or ():
            node("line", root, class_="base", x1=x - 2, x2=x + 2, y1=y + 4, y2=y - 4)
        for x, text in ticks:
            node("line", root, class_="base", x1=x, x2=x, y1=y, y2=y + 4)
            node("text", root, text=text, x=x, y=y + 18, text_anchor="middle")
        node("text", root, text=label, class_="axis", x=self.right, y=y + 38, text_anchor="end")


def round_ticks(low: float, high: float, *, most: int = 6) -> list[tuple[float, str]]:
    """Return round values that enclose the interval, with their labels.

    >>> [label for _, label in round_ticks(0.0, 0.87)]
    ['0.0', '0.2', '0.4', '0.6', '0.8', '1.0']
    """
    span = high - low if high > low else max(abs(high), 1.0)
    raw = span / (most - 1)
    magnitude = 10.0 ** math.floor(math.log10(raw))
    step = next(m * magnitude for m in (1, 2, 2.5, 5, 10) if m * magnitude >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    if round(step, decimals) != round(step, decimals + 1):
        decimals += 1
    return [
        (i * step, f"{i * step:.{decimals}f}".replace("-", "−")) for i in range(first, last + 1)
    ]


def moments(first: datetime, last: datetime, *, count: int = 3) -> list[tuple[datetime, str]]:
    """Return moments from first to last, labelled as finely as they differ."""
    span = last - first
    if span >= timedelta(days=300):
        pattern = "%b %Y"
    elif span >= timedelta(days=2):
        pattern = "%-d %b"
    elif span >= timedelta(minutes=5):
        pattern = "%H:%M"
    else:
        pattern = "%H:%M:%S"
    steps = count - 1 if span else 0
    found = [first + span * i / max(steps, 1) for i in range(steps + 1)]
    # A label said twice would look like a mistake; the first moment keeps it.
    labels = {moment.strftime(pattern): moment for moment in reversed(found)}
    return [(moment, label) for label, moment in reversed(labels.items())]
