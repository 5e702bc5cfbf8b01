"""The charts of evidence: how scores translate, how coverage grew, where documents lie."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np

from vecstore.upgrade.assessment import CoveragePoint, Pictures, UpgradeAssessment
from vecstore.upgrade.report.axes import Frame, Scale, moments, round_ticks
from vecstore.upgrade.report.svg import Node, chart, marker, node, path

__all__ = [
    "after_translation",
    "agreement",
    "before_translation",
    "calibration",
    "coverage_over_time",
    "displacement",
    "drawable",
]

_SIZE = 400.0
_JOINED = 40  # documents whose two places are joined by a line

Points = list[tuple[float, float]]


def calibration(pictures: Pictures) -> Node:
    """Draw native against translated scores, on one scale, with the line of equality."""
    both = [*pictures.translated_scores, *pictures.native_scores]
    ticks = round_ticks(min(both), max(both))
    low, high = ticks[0][0], ticks[-1][0]
    frame = Frame(left=44, top=34, right=_SIZE - 6, bottom=_SIZE - 16)
    x_scale = Scale(low=low, high=high, start=frame.left, end=frame.right)
    y_scale = Scale(low=low, high=high, start=frame.bottom, end=frame.top)
    root = chart(
        "calibration",
        width=_SIZE,
        height=frame.bottom + 48,
        title="Score calibration",
        description=f"{len(pictures.native_scores)} scores of the same query and document, by "
        "translation across and natively upwards; on the diagonal they are equal.",
    )
    frame.vertical_axis(root, y_scale, ticks, "native score")
    frame.horizontal_axis(
        root, [(x_scale(value), text) for value, text in ticks], "translated score"
    )
    node(
        "line", root, class_="reference", x1=frame.left, y1=frame.bottom, x2=frame.right,
        y2=frame.top,
    )  # fmt: skip
    marks = node("g", root, data_series="forward", class_="forward")
    for x, y in zip(pictures.translated_scores, pictures.native_scores, strict=True):
        node("circle", marks, class_="mark dot", cx=x_scale(x), cy=y_scale(y), r=2.6)
    return root


def coverage_over_time(assessment: UpgradeAssessment) -> Node:
    """Draw the share of items with a native vector as steps, one line for each space."""
    points = assessment.coverage
    first, last = min(p.at for p in points), max(p.at for p in points)
    room = (last - first) / 20 or timedelta(minutes=1)
    start, end = first - room, last + room
    frame = Frame(left=44, top=34, right=_SIZE - 6, bottom=_SIZE - 16)
    x_scale = Scale(
        low=0, high=(end - start).total_seconds(), start=frame.left, end=frame.right
    )  # fmt: skip
    y_scale = Scale(low=0, high=1, start=frame.bottom, end=frame.top)

    def across(moment: datetime) -> float:
        return x_scale((moment - start).total_seconds())

    lines = {
        name: line
        for name in (assessment.source, assessment.target)
        if (line := [p for p in points if p.space == name])
    }
    root = chart(
        "coverage",
        width=_SIZE,
        height=frame.bottom + 48,
        title="Coverage over time",
        description="; ".join(
            f"{name}: {_share(line[-1]):.1%} of the items after version {line[-1].version}"
            for name, line in lines.items()
        ),
    )
    percents = [(share / 4, f"{share * 25}%") for share in range(5)]
    frame.vertical_axis(root, y_scale, percents, "items with a native vector")
    ticks = [
        (across(moment), label) for moment, label in moments(first, last)
    ]  # fmt: skip
    day = f"{first:%Y-%m-%d}" if last - first < timedelta(days=2) else f"{first:%Y}"
    frame.horizontal_axis(root, ticks, f"time of commit, UTC, {day}")
    for name, line in lines.items():
        series = "stay" if name == assessment.source else "re-embed"
        group = node("g", root, data_series=series, class_=series)
        places = [(across(p.at), y_scale(_share(p))) for p in sorted(line, key=_order)]
        steps: Points = [(places[0][0], frame.bottom)]
        for x, y in places:
            steps += [(x, steps[-1][1]), (x, y)]
        steps.append((frame.right, steps[-1][1]))
        node("path", group, class_="mark step", d=path(steps))
        for x, y in places:
            marker(group, "circle" if series == "stay" else "up", x=x, y=y)
    return root


def before_translation(pictures: Pictures) -> Node:
    """Draw both spaces over each other, each on its own axes and at its own size."""
    root, frame = _panel(
        "before",
        "Before translation",
        f"{len(pictures.old)} documents by the old and by the new model, each on the first two "
        "principal axes of its own space; lines join the two places of the same document.",
    )
    old, new = _fitted(pictures.old, frame), _fitted(pictures.new, frame)
    return _scattered(root, (old, "stay"), (new, "re-embed"))


def after_translation(pictures: Pictures) -> Node:
    """Draw the new space and the translated documents, on the same axes at the same size."""
    root, frame = _panel(
        "after",
        "After translation",
        f"{len(pictures.new)} documents by the new model and as translated from the old one, on "
        "the same two principal axes; lines join the two places of the same document.",
    )
    both = _fitted([*pictures.new, *pictures.translated], frame)
    new, translated = both[: len(pictures.new)], both[len(pictures.new) :]
    return _scattered(root, (translated, "forward"), (new, "re-embed"))


def _panel(name: str, title: str, description: str) -> tuple[Node, Frame]:
    root = chart(name, width=_SIZE, height=_SIZE, title=title, description=description)
    frame = Frame(left=1, top=1, right=_SIZE - 1, bottom=_SIZE - 1)
    node(
        "rect", root, class_="panel", x=frame.left, y=frame.top,
        width=frame.right - frame.left, height=frame.bottom - frame.top,
    )  # fmt: skip
    return root, frame


def _fitted(points: Points, frame: Frame) -> Points:
    """Move points into the frame, without changing the ratio of their axes."""
    places = np.asarray(points, dtype=np.float64)
    low, high = places.min(axis=0), places.max(axis=0)
    extent = max(float((high - low).max()), 1e-9)
    room = frame.right - frame.left - 28
    centre = (frame.left + frame.right) / 2, (frame.top + frame.bottom) / 2
    moved = (places - (low + high) / 2) / extent * room * (1, -1) + centre
    return [(float(x), float(y)) for x, y in moved]


def _scattered(root: Node, *series: tuple[Points, str]) -> Node:
    """Draw the points of both series, and lines between some that are the same document."""
    (one, _), (other, _) = series
    links = node("g", root, class_="links")
    for start, end in list(zip(one, other, strict=True))[:_JOINED]:
        node("path", links, d=path([start, end]))
    for points, name in series:
        group = node("g", root, data_series=name, class_=name)
        for x, y in points:
            if name == "re-embed":
                node("circle", group, class_="mark dot", cx=x, cy=y, r=2.8)
            else:
                node("rect", group, class_="mark dot", x=x - 2.4, y=y - 2.4, width=4.8, height=4.8)
    return root


def _share(point: CoveragePoint) -> float:
    return min(point.native / max(point.items, 1), 1.0)


def _order(point: CoveragePoint) -> tuple[datetime, int]:
    return point.at, point.version


def agreement(pictures: Pictures) -> tuple[float | None, float]:
    """Return how translated and native scores correlate, if they vary, and their difference."""
    translated = np.asarray(pictures.translated_scores)
    native = np.asarray(pictures.native_scores)
    if translated.std() == 0 or native.std() == 0:
        return None, float((translated - native).mean())
    return float(np.corrcoef(translated, native)[0, 1]), float((translated - native).mean())


def displacement(pictures: Pictures) -> float:
    """Return how far translation misses: median distance over the median radius of the cloud."""
    new, translated = np.asarray(pictures.new), np.asarray(pictures.translated)
    radius = float(np.median(np.linalg.norm(new - new.mean(axis=0), axis=1)))
    return float(np.median(np.linalg.norm(new - translated, axis=1))) / max(radius, 1e-9)


def drawable(values: Sequence[object], *others: Sequence[object]) -> bool:
    """Say whether there is anything to draw, as many of each."""
    return len(values) > 0 and all(len(other) == len(values) for other in others)
