"""The page: figures as a reader wants them, filled into the template and written in one piece."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, final

from vecstore._version import __version__
from vecstore.errors import StorageError
from vecstore.storage.durable import appearing
from vecstore.upgrade.assessment import UpgradeAssessment, UpgradeOption
from vecstore.upgrade.report.advice import advice
from vecstore.upgrade.report.charts import (
    after_translation,
    agreement,
    before_translation,
    calibration,
    coverage_over_time,
    displacement,
    drawable,
)
from vecstore.upgrade.report.legend import Key, legend
from vecstore.upgrade.report.quality import quality_against_cost
from vecstore.upgrade.report.svg import markup
from vecstore.upgrade.report.table import rows, shown_columns

if TYPE_CHECKING:
    from markupsafe import Markup

__all__ = ["render_report", "write_report"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class _Chart:
    """A figure of the page: the drawing in one or more widths, and what explains it."""

    heading: str
    drawings: tuple[Markup, ...]
    keys: tuple[Key, ...]
    caption: str


def write_report(assessment: UpgradeAssessment, path: str | os.PathLike[str]) -> Path:
    """Write an assessment as one HTML file that needs nothing else, no network and no scripts.

    The file appears in one piece: an older report stays until the new one is complete.

    Parameters
    ----------
    assessment : UpgradeAssessment
        As ``collection.assess_upgrade`` returns it.
    path : str or path
        The file, in a folder that exists.

    Returns
    -------
    Path
        The file that was written.

    Raises
    ------
    StorageError
        The file cannot be written there.
    """
    target = Path(path)
    page = render_report(assessment).encode()
    try:
        with appearing(target) as temporary:
            temporary.write_bytes(page)
    except OSError as error:
        raise StorageError(
            f"cannot write the report to {target}: {error.strerror or error}; give a file in a "
            "folder that exists and that you may write to"
        ) from error
    return target


def render_report(assessment: UpgradeAssessment, *, written: datetime | None = None) -> str:
    """Return the page as text.

    Parameters
    ----------
    assessment : UpgradeAssessment
    written : datetime, optional
        The date on the page; by default now.
    """
    # Loaded here: whoever never writes a report does not wait for a template engine.
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("vecstore.upgrade.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    chosen = assessment.option(assessment.recommendation.option)
    table = rows(assessment)
    page = environment.get_template("page.html").render(
        a=assessment,
        chosen=chosen,
        facts=_facts(assessment, chosen),
        reason=_sentence(assessment.recommendation.reason),
        next=advice(assessment),
        rows=table,
        columns=shown_columns(table),
        measure=_measure(assessment),
        quality=_quality(assessment),
        evidence=_evidence(assessment),
        pictures=_pictures(assessment),
        written=(written or datetime.now(UTC)).astimezone(UTC),
        version=__version__,
    )
    return f"{page}\n"


def _facts(assessment: UpgradeAssessment, chosen: UpgradeOption) -> list[tuple[str, str, str]]:
    """Return the four figures that the decision rests on: value, what it is, what it means."""
    words = " with words" if chosen.weight is not None else ""
    recommendation = assessment.recommendation
    facts = [
        (f"{recommendation.retention:.1%}", "Retention", f"of a full re-embed{words}"),
        (
            f"{chosen.quality.mean:.3f}",
            _measure(assessment),
            f"95%: {chosen.quality.low:.3f} to {chosen.quality.high:.3f}",
        ),
    ]
    if chosen.gain is not None:
        gain = chosen.gain
        meaning = f"95%: {_signed(gain.low)} to {_signed(gain.high)}"
        facts.append((_signed(gain.mean), "Against the old model", meaning))
    share = chosen.cost.documents / max(assessment.items, 1)
    cost = "documents"
    if chosen.cost.documents:
        cost += f", {share:.1%} of the corpus"
    if chosen.cost.documents_per_query:
        cost += f"; then up to {chosen.cost.documents_per_query:.0f} a query"
    facts.append((f"{chosen.cost.documents:,}", "Embedded first", cost))
    return facts


def _quality(assessment: UpgradeAssessment) -> _Chart:
    caption = "Filled marks: words join the vectors. Hollow marks: vectors alone. "
    if all(option.weight is None for option in assessment.options):
        caption = ""
    depths = [o.cost.documents_per_query for o in assessment.options if o.cost.documents_per_query]
    if depths:
        caption += (
            f"+{min(depths):.0f} means: at most {min(depths):.0f} more documents are embedded for "
            "each query, fewer as coverage grows. "
        )
    return _Chart(
        heading="Quality against embedding cost",
        drawings=tuple(
            markup(quality_against_cost(assessment, narrow=narrow)) for narrow in (False, True)
        ),
        keys=legend(assessment),
        caption=caption
        + "Options in one grey band embed equally much; right of zero the scale is logarithmic.",
    )


def _evidence(assessment: UpgradeAssessment) -> list[_Chart]:
    """Return the charts that have data: calibration of scores, coverage over time."""
    charts = []
    pictures = assessment.pictures
    if drawable(pictures.native_scores, pictures.translated_scores):
        correlation, difference = agreement(pictures)
        said = "" if correlation is None else f"Correlation {correlation:.2f}. "
        above = "above" if difference >= 0 else "below"
        charts.append(
            _Chart(
                heading="Score calibration",
                drawings=(markup(calibration(pictures)),),
                keys=(
                    Key(series="forward", shape="circle", title="a query and a document"),
                    Key(series="line", shape="line", title="equal scores"),
                ),
                caption=f"{said}Translated scores lie on average "
                f"{abs(difference):.3f} {above} native ones: the closer to the line, the better "
                "one threshold serves both.",
            )
        )
    if any(p.space in (assessment.source, assessment.target) for p in assessment.coverage):
        charts.append(
            _Chart(
                heading="Coverage over time",
                drawings=(markup(coverage_over_time(assessment)),),
                keys=(
                    Key(series="stay", shape="circle", title=assessment.source),
                    Key(series="re-embed", shape="up", title=assessment.target),
                ),
                caption="Share of today’s items with a vector by each model, after each commit.",
            )
        )
    return charts


def _pictures(assessment: UpgradeAssessment) -> list[_Chart]:
    """Return the two pictures of the spaces, or none."""
    pictures = assessment.pictures
    if not drawable(pictures.new, pictures.old, pictures.translated):
        return []
    native = Key(series="re-embed", shape="circle", title=f"{assessment.target}, native")
    return [
        _Chart(
            heading="Both spaces before translation",
            drawings=(markup(before_translation(pictures)),),
            keys=(Key(series="stay", shape="square", title=f"{assessment.source}, native"), native),
            caption="Each space on its own two principal axes, whose directions and units have "
            "nothing in common. Lines join the same document.",
        ),
        _Chart(
            heading="After translation",
            drawings=(markup(after_translation(pictures)),),
            keys=(
                Key(series="forward", shape="square", title=f"{assessment.source}, translated"),
                native,
            ),
            caption=f"Both on the two principal axes of {assessment.target}. The median document "
            f"misses its native place by {displacement(pictures):.2f} of the cloud’s median "
            "radius; two axes show only part of it.",
        ),
    ]


def _measure(assessment: UpgradeAssessment) -> str:
    return f"{'nDCG' if assessment.metric == 'ndcg' else 'overlap'}@{assessment.k}"


def _sentence(text: str) -> str:
    """Return the text as a sentence: the assessment's reason begins in lower case."""
    return text[:1].upper() + text[1:].rstrip(".") + "."


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")
