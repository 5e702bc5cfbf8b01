"""What to do next, in words and as commands, for each kind of recommendation."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import final

from vecstore.upgrade.assessment import UpgradeAssessment

__all__ = ["Advice", "advice"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """A paragraph, and what to type: first in a shell, then in Python."""

    text: str
    shell: tuple[str, ...]
    python: tuple[str, ...]


def advice(assessment: UpgradeAssessment) -> Advice:
    """Return the steps that lead from the assessment to the recommended option."""
    chosen = assessment.option(assessment.recommendation.option)
    kind, _, depth = chosen.name.partition("+")[0].partition("@")
    old, new = assessment.source, assessment.target
    if kind == "stay":
        return Advice(
            text=f"Keep searching in {old}. Nothing has to be changed, embedded or refitted; "
            f"assess again when there are more pairs, another model, or other queries."
            + _words(assessment),
            shell=(),
            python=_search(assessment, old),
        )
    if kind == "re-embed":
        return Advice(
            text=f"Embed what has no vector in {new} yet; the job can be paused and resumed, and "
            f"searches go on in {old} meanwhile. Then search in {new}; {old} stays until you drop "
            f"it, so the way back is open." + _words(assessment),
            shell=(_command(assessment, "backfill", to=new),),
            python=_search(assessment, new),
        )
    fit = _command(assessment, "translator fit", source=old, target=new)
    if kind == "query-side":
        fit = _command(assessment, "translator fit", source=new, target=old, side="queries")
    shell: tuple[str, ...] = (fit,)
    if chosen.cost.documents:
        pairs = chosen.cost.documents
        shell = (_command(assessment, "backfill", to=new, budget=pairs, priority="random"), fit)
    text = f"Fit the translator on the pairs, and search the whole collection in {new} at once."
    if chosen.cost.documents:
        text = f"Embed {chosen.cost.documents:,} documents for the pairs. " + text
    if depth:
        text += (
            f" Each query has its {depth} best documents embedded where they are not yet, and "
            "keeps those vectors: what is asked for most becomes native first, and queries become "
            "cheaper."
        )
    text += _words(assessment)
    text += f" Nothing is lost in {old}: searching there again is the way back."
    return Advice(text=text, shell=shell, python=_search(assessment, new, depth or None))


def _words(assessment: UpgradeAssessment) -> str:
    weight = assessment.recommendation.weight
    if weight is None:
        return ""
    return f" Give the query's text with its vector, so that words join with weight {weight:g}."


def _command(assessment: UpgradeAssessment, verb: str, **options: str | int) -> str:
    """Return a line for a shell; names are quoted where they need it."""
    words = ["-c", assessment.collection]
    for name, value in options.items():
        words += [f"--{name}", str(value)]
    line = shlex.join(words)
    return f"vecstore {verb} STORE {line}"


def _search(assessment: UpgradeAssessment, space: str, depth: str | None = None) -> tuple[str, ...]:
    """Return the search in Python."""
    arguments = [f"space={space!r}", f"k={assessment.k}"]
    if depth:
        arguments.append(f"depth={depth}")
    weight = assessment.recommendation.weight
    arguments.append("lexical=0" if weight is None else f"lexical={weight:g}")
    return (
        f"docs = store.collection({assessment.collection!r})",
        f"docs.search(text=question, {', '.join(arguments)})",
    )
