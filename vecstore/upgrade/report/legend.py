"""What colours and shapes mean; text beside the chart wraps where text inside could not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from vecstore.upgrade.assessment import UpgradeAssessment
from vecstore.upgrade.report.quality import APPROACHES, approach
from vecstore.upgrade.report.svg import Shape, marker, markup, node

if TYPE_CHECKING:
    from markupsafe import Markup

__all__ = ["Key", "legend"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One entry of a legend; ``shape`` may also be a line."""

    series: str
    shape: Shape | str
    title: str

    @property
    def drawing(self) -> Markup:
        """Return the mark as a small drawing that screen readers pass over."""
        root = node("svg", class_="key", viewBox="0 0 16 16", aria_hidden="true")
        group = node("g", root, class_=self.series)
        if self.shape == "line":
            node("line", group, class_="reference", x1=0, x2=16, y1=8, y2=8)
        else:
            marker(group, self.shape, x=8, y=8)  # type: ignore[arg-type]
        return markup(root)


def legend(assessment: UpgradeAssessment) -> tuple[Key, ...]:
    """Return the kinds of options that the assessment has."""
    present = {approach(option).name for option in assessment.options}
    return tuple(
        Key(series=a.name, shape=a.shape, title=a.title) for a in APPROACHES if a.name in present
    )
