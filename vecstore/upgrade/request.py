"""What a caller asks of an assessment, as checked values: plan, queries, source of vectors."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import final

import numpy as np

from vecstore.catalog import SpaceRecord
from vecstore.encoding import Encoder, require_encoder
from vecstore.errors import InvalidArgumentError, UnsupportedOperationError
from vecstore.filters import Where
from vecstore.fitting import as_families
from vecstore.upgrade.assess import AssessmentPlan
from vecstore.upgrade.questions import Judgements, Queries, Questions, asked_questions
from vecstore.upgrade.supply import Keep, Supply
from vecstore.version import OpenVersion
from vecstore_translators import TranslatorFamily

__all__ = ["AssessmentRequest", "requested"]

_SAMPLE, _LEAST_SAMPLE, _SAMPLE_SHARE = 2_000, 200, 0.2
_MAX_SAMPLE, _MAX_DEPTH = 20_000, 100_000


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AssessmentRequest:
    """Everything that :func:`vecstore.upgrade.assess.assess` needs of the caller.

    Attributes
    ----------
    questions : Questions or None
        None where documents are to ask.
    old, new : Supply
        Vectors in the source and in the target space.
    """

    plan: AssessmentPlan
    questions: Questions | None
    old: Supply
    new: Supply


def requested(
    version: OpenVersion,
    *,
    source: str,
    target: str,
    queries: Queries | None,
    qrels: Judgements | None,
    k: int,
    depths: Sequence[int],
    sample: int | None,
    budget: float,
    price: float | None,
    encoder: Encoder | None,
    family: str | TranslatorFamily | Sequence[str | TranslatorFamily] | None,
    where: Where | None,
    seed: int,
    keep: Keep | None,
) -> AssessmentRequest:
    """Check the arguments of :meth:`vecstore.Collection.assess_upgrade`, and embed its queries.

    Raises
    ------
    InvalidArgumentError, NotFoundError, SpaceMismatchError, UnpairedRowsError
    """
    snapshot = version.snapshot
    old, new = snapshot.space(source), snapshot.space(target)
    if source == target:
        raise InvalidArgumentError(f"expected two different spaces, got {source!r} twice")
    if qrels is not None and queries is None:
        raise InvalidArgumentError("qrels= judge queries; pass queries= too, or leave both out")
    if encoder is not None:
        require_encoder(encoder, new.space)
    corpus = snapshot.live if where is None else snapshot.matching(where)
    if not len(corpus):
        raise InvalidArgumentError(
            "expected items to assess, got none"
            + ("; write some" if where is None else f"; where={where!r} matches nothing")
        )
    plan = AssessmentPlan(
        corpus=corpus,
        k=_whole(k, "k", 1, _MAX_DEPTH),
        depths=tuple(sorted({max(_whole(d, "depths", 1, _MAX_DEPTH), k) for d in depths})),
        sample=_sample(sample, len(corpus)),
        budget=_number(budget, "budget", most=1.0),
        price=None if price is None else _number(price, "price"),
        families=as_families(family),
        seed=seed,
    )
    encoder_of = _opener(version, new, encoder)
    questions = None
    if queries is not None:
        questions = asked_questions(
            snapshot, queries, qrels, source=old, target=new, encoder_of=encoder_of
        )
    supplies = []
    for record in (old, new):
        # An encoder that has nothing to do here is not opened: that may load a model.
        complete = len(corpus - snapshot.native(record.space.name)) == 0
        supplies.append(
            Supply(
                snapshot,
                record,
                encoder=None if complete or sample == 0 else encoder_of(record),
                keep=keep,
            )
        )
    return AssessmentRequest(plan=plan, questions=questions, old=supplies[0], new=supplies[1])


def _opener(
    version: OpenVersion, target: SpaceRecord, encoder: Encoder | None
) -> Callable[[SpaceRecord], Encoder | None]:
    """Return what gives the encoder of a space: the one passed for the target, or its own."""

    def encoder_of(record: SpaceRecord) -> Encoder | None:
        if encoder is not None and record.id == target.id:
            return encoder
        # An address that this store cannot open is as good as none.
        with suppress(UnsupportedOperationError):
            return version.encoders.of(record)
        return None

    return encoder_of


def _sample(sample: int | None, items: int) -> int:
    """Return how many documents are ranked at most; 0 stands for pairs that are there."""
    if sample is None:
        return min(_SAMPLE, max(_LEAST_SAMPLE, math.ceil(_SAMPLE_SHARE * items)))
    return _whole(sample, "sample", 0, _MAX_SAMPLE) or _SAMPLE


def _whole(number: object, what: str, least: int, most: int) -> int:
    integer = isinstance(number, (int, np.integer)) and not isinstance(number, bool)
    if not integer or not least <= number <= most:  # type: ignore[operator]
        raise InvalidArgumentError(
            f"expected {what} to be an integer, {least} to {most:,}, got {number!r}"
        )
    return int(number)  # type: ignore[call-overload, no-any-return]


def _number(number: object, what: str, *, most: float = math.inf) -> float:
    real = isinstance(number, (int, float, np.integer, np.floating))
    if not real or isinstance(number, bool) or not 0 <= number <= most or math.isinf(number):  # type: ignore[operator, arg-type]
        bound = "" if most == math.inf else f" and at most {most:g}"
        raise InvalidArgumentError(f"expected {what} >= 0{bound}, got {number!r}")
    return float(number)  # type: ignore[arg-type]
