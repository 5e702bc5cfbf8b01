"""The chart of the decision: what each option is worth against what it embeds."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

from vecstore.upgrade.assessment import UpgradeAssessment, UpgradeOption
from vecstore.upgrade.report.axes import Frame, Scale, round_ticks
from vecstore.upgrade.report.svg import Node, Shape, chart, marker, node

__all__ = ["APPROACHES", "Approach", "approach", "quality_against_cost"]

_ROUND = (0.5, 0.25, 0.1, 0.01, 0.001, 0.0001)
_MARGIN = 6.0
_GAP = 30.0
_LABEL = (38.0, 15.0)  # as wide as four digits, and as high
_PAIR = 5.0  # half the distance between an option without and with words


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class _Across:
    """The horizontal axis: where nothing lies, and a scale of the other shares.

    Attributes
    ----------
    gap : (float, float) or None
        Where the axis is interrupted, because zero has no place on a logarithmic scale.
    """

    zero: float
    scale: Scale
    slot: float
    gap: tuple[float, float] | None

    @classmethod
    def of(cls, groups: Mapping[float, Sequence[object]], frame: Frame, *, slot: float) -> _Across:
        """Return the axis on which no two bands meet."""
        counts = {share: len(slots) for share, slots in groups.items()}
        room = frame.right - frame.left - 2 * _MARGIN - _GAP * (len(counts) - 1)
        slot = min(slot, room / sum(counts.values()))
        start, gap = frame.left + _MARGIN, None
        zero = start + counts.get(0.0, 0) * slot / 2
        shares = [share for share in counts if share > 0] or [1.0]
        if 0.0 in counts:
            start += counts[0.0] * slot
            gap = start + _GAP / 2 - 3, start + _GAP / 2 + 3
            start += _GAP
        start += counts.get(min(shares), 0) * slot / 2
        end = frame.right - _MARGIN - counts.get(max(shares), 0) * slot / 2
        if min(shares) == max(shares) and gap is not None:
            start = end  # one share has no scale: as far from nothing as there is room
        scale = Scale(low=math.log(min(shares)), high=math.log(max(shares)), start=start, end=end)
        return cls(zero=zero, scale=scale, slot=slot, gap=gap)

    def __call__(self, share: float) -> float:
        """Return the pixel of a share."""
        return self.scale(math.log(share)) if share > 0 else self.zero

    def ticks(self, exact: Sequence[float]) -> list[tuple[float, str]]:
        """Return the shares that options have, and round ones where there is room."""
        ticks: list[tuple[float, str]] = []
        low, high = math.exp(self.scale.low), math.exp(self.scale.high)
        for share in [*exact, *(share for share in _ROUND if low < share < high)]:
            x = self(share)
            if all(abs(x - other) > 46 for other, _ in ticks):
                ticks.append((x, _percent(share)))
        return ticks


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Approach:
    """A kind of option: one colour and one shape."""

    name: str
    title: str
    shape: Shape


APPROACHES = (
    Approach(name="stay", title="old model kept", shape="circle"),
    Approach(name="naive", title="naive swap", shape="cross"),
    Approach(name="query-side", title="query translated", shape="down"),
    Approach(name="forward", title="documents translated", shape="square"),
    Approach(name="cascade", title="cascade", shape="diamond"),
    Approach(name="re-embed", title="everything re-embedded", shape="up"),
)


def approach(option: UpgradeOption) -> Approach:
    """Return what kind of option it is; what is unknown looks like a translation."""
    kind = _base(option).partition("@")[0]
    return next((a for a in APPROACHES if a.name == kind), APPROACHES[3])


def quality_against_cost(assessment: UpgradeAssessment, *, narrow: bool) -> Node:
    """Draw every option once: share embedded first, quality, and its interval.

    Options that embed as much lie side by side in one band, in the order of what they embed for
    each query. Nothing has a band of its own; the shares right of it are on a logarithmic scale.
    """
    width, height = (380.0, 440.0) if narrow else (860.0, 430.0)
    frame = Frame(left=36, top=46, right=width - 4, bottom=height - 48)
    groups = _side_by_side(assessment)
    across = _Across.of(groups, frame, slot=24.0 if narrow else 30.0)
    highest = max(option.quality.high for option in assessment.options)
    ticks = round_ticks(0.0, max(highest, 0.1))
    y_scale = Scale(low=0.0, high=ticks[-1][0], start=frame.bottom, end=frame.top)
    root = chart(
        "quality-narrow" if narrow else "quality-wide",
        width=width,
        height=height,
        title="Quality against embedding cost",
        description=_described(assessment),
    )
    for share, slots in groups.items():
        wide = len(slots) * across.slot
        node(
            "rect", root, class_="band", x=across(share) - wide / 2, y=frame.top, width=wide,
            height=frame.bottom - frame.top,
        )  # fmt: skip
    frame.vertical_axis(root, y_scale, ticks, f"{_measure(assessment)}, with 95% interval")
    frame.horizontal_axis(
        root,
        across.ticks(list(groups)),
        "share of the corpus embedded before the first query",
        gap=across.gap,
    )
    _old_model(root, assessment, frame, y_scale, across(max(groups)) - across.slot)
    marks = {a.name: node("g", root, data_series=a.name, class_=a.name) for a in APPROACHES}
    notes = node("g", root, class_="notes")
    for share, slots in groups.items():
        for index, slot_options in enumerate(slots):
            x = across(share) + (index - (len(slots) - 1) / 2) * across.slot
            _slot(marks, notes, slot_options, x, y_scale, assessment, frame)
    for group in marks.values():
        if not len(group):
            root.remove(group)
    return root


def _side_by_side(assessment: UpgradeAssessment) -> dict[float, list[list[UpgradeOption]]]:
    """Group options by share, then an option and itself with words in one slot."""
    groups: dict[float, dict[str, list[UpgradeOption]]] = defaultdict(dict)
    for option in assessment.options:
        share = min(option.cost.documents / max(assessment.items, 1), 1.0)
        groups[share].setdefault(_base(option), []).append(option)
    return {
        share: sorted(slots.values(), key=lambda options: options[0].cost.documents_per_query)
        for share, slots in sorted(groups.items())
    }


def _slot(
    marks: dict[str, Node],
    notes: Node,
    options: Sequence[UpgradeOption],
    x: float,
    y_scale: Scale,
    assessment: UpgradeAssessment,
    frame: Frame,
) -> None:
    """Draw an option without and with words next to each other, and its cost per query below."""
    spread = _PAIR if len(options) > 1 else 0.0
    per_query = options[0].cost.documents_per_query
    if per_query:
        lowest = min(options, key=lambda option: option.quality.mean)
        below = max(y_scale(lowest.quality.low), y_scale(lowest.quality.mean) + 6) + 14
        place = x + (spread if lowest.weight is not None else -spread)
        below = _free(notes, place, below)
        node("text", notes, text=f"+{per_query:.0f}", x=place, y=below, text_anchor="middle")
    for option in options:
        here = x + (spread if option.weight is not None else -spread)
        group = node("g", marks[approach(option).name])
        node("title", group, text=_told(option, assessment))
        low, high = y_scale(option.quality.low), y_scale(option.quality.high)
        node("line", group, class_="whisker", x1=here, x2=here, y1=low, y2=high)
        middle = y_scale(option.quality.mean)
        filled = "mark" if option.weight is not None else "mark hollow"
        marker(group, approach(option).shape, x=here, y=middle, class_=filled)
        if option.name == assessment.recommendation.option:
            node("circle", notes, class_="ring", cx=here, cy=middle, r=10)
            # Above the box, where no mark is; near an end of it the word grows inwards.
            anchor = "start" if here < frame.left + 45 else "middle"
            anchor = "end" if here > frame.right - 45 else anchor
            node("line", notes, class_="leader", x1=here, x2=here, y1=frame.top - 4, y2=middle - 10)
            node(
                "text", notes, text="recommended", class_="strong", x=here, y=frame.top - 9,
                text_anchor=anchor,
            )  # fmt: skip


def _free(notes: Node, x: float, y: float) -> float:
    """Return the height at which a label meets none that was drawn near it."""
    near = [
        float(note.get("y", ""))
        for note in notes.iter("text")
        if abs(float(note.get("x", "")) - x) < _LABEL[0]
    ]
    while any(abs(y - other) < _LABEL[1] for other in near):
        y += 1
    return y


def _old_model(
    root: Node, assessment: UpgradeAssessment, frame: Frame, y_scale: Scale, right: float
) -> None:
    """Draw the line below which an upgrade is a loss."""
    stay = next((option for option in assessment.options if option.name == "stay"), None)
    if stay is None:
        return
    y = y_scale(stay.quality.mean)
    node("line", root, class_="reference", x1=frame.left, x2=frame.right, y1=y, y2=y)
    node(
        "text", root, text=f"old model {stay.quality.mean:.3f}", x=right,
        y=y - 6, text_anchor="end",
    )  # fmt: skip


def _percent(share: float) -> str:
    return f"{100 * share:.1f}".removesuffix(".0") + "%" if share >= 0.01 else f"{100 * share:.2g}%"


def _base(option: UpgradeOption) -> str:
    return option.name.partition("+")[0]


def _measure(assessment: UpgradeAssessment) -> str:
    name = "nDCG" if assessment.metric == "ndcg" else "overlap with the new model, top"
    return f"{name}@{assessment.k}" if assessment.metric == "ndcg" else f"{name} {assessment.k}"


def _told(option: UpgradeOption, assessment: UpgradeAssessment) -> str:
    share = option.cost.documents / max(assessment.items, 1)
    text = f"{option.title}: {option.quality}; {share:.1%} embedded first"
    if option.cost.documents_per_query:
        text += f", at most {option.cost.documents_per_query:.0f} documents for each query"
    return text


def _described(assessment: UpgradeAssessment) -> str:
    best = assessment.option(assessment.recommendation.option)
    worst, top = (
        choose(assessment.options, key=lambda option: option.quality.mean) for choose in (min, max)
    )
    return (
        f"{len(assessment.options)} options from {worst.quality.mean:.3f} ({worst.title}) to "
        f"{top.quality.mean:.3f} ({top.title}). Recommended: {_told(best, assessment)}. "
        "All figures are in the table above."
    )
