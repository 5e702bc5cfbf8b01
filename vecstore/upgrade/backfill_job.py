"""A backfill as values: what is asked for, how far it has come, what it did."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self, final

import numpy as np

from vecstore.catalog import SpaceRecord
from vecstore.errors import InvalidArgumentError
from vecstore.upgrade.priorities import Priority, checked_priority

__all__ = ["JOB_PREFIX", "BackfillProgress", "BackfillReport", "BackfillRequest", "BackfillState"]

JOB_PREFIX = "backfill-"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class BackfillProgress:
    """Where a backfill is, after each commit; counts include what earlier runs of it did.

    Attributes
    ----------
    done, total : int
        Documents embedded, and to be embedded: the budget, or what is missing if that is less.
        Items without a document show only when they are met, and make the total smaller.
    without_document : int
        Items that cannot be embedded, so far.
    seconds : float
        Of this run.
    eta_seconds : float or None
        What is left at the pace of this run; None before anything is known.
    """

    done: int
    total: int
    without_document: int
    seconds: float
    eta_seconds: float | None


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class BackfillReport:
    """What a backfill did; print it.

    Attributes
    ----------
    to : str
    embedded : int
        Documents embedded, earlier runs of the same job included.
    resumed_from : int
        How many of them earlier, interrupted runs had embedded.
    without_document, refused, elsewhere : int
        Items left as they are: without a document; whose document the encoder refuses; that
        another job is embedding. Those met by this run.
    missing : int
        Live items without a native vector after it.
    coverage : float
        Share of live items with a native vector after it.
    finished : bool
        False if it was stopped before its budget was spent or nothing was left.
    refits : int
        Translators fitted again on the way and kept.
    version : int
    seconds : float
        Of this run.
    """

    to: str
    embedded: int
    resumed_from: int
    without_document: int
    refused: int
    elsewhere: int
    missing: int
    coverage: float
    finished: bool
    refits: int
    version: int
    seconds: float

    def __str__(self) -> str:
        before = f", {self.resumed_from:,} of them before" if self.resumed_from else ""
        left = "".join(
            f", {count:,} {why}"
            for count, why in (
                (self.without_document, "without a document"),
                (self.refused, "refused by the encoder"),
                (self.elsewhere, "left to another job"),
            )
            if count
        )
        return (
            f"{self.embedded:,} documents embedded for {self.to}{before}{left}; "
            f"coverage {self.coverage:.1%}, {self.missing:,} items to go"
        )


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class BackfillRequest:
    """What a caller asks of a backfill; see :meth:`vecstore.Collection.backfill`."""

    to: str
    budget: int | None
    priority: Priority
    batch: int
    rate: float | None
    seed: int

    def __post_init__(self) -> None:
        checked_priority(self.priority)
        for name, least in (("budget", 0), ("batch", 1), ("seed", 0)):
            value = getattr(self, name)
            integer = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
            if not (value is None and name == "budget") and not (integer and value >= least):
                raise InvalidArgumentError(
                    f"expected {name} to be an integer >= {least}, got {value!r}"
                )
        if self.rate is not None and not 0 < self.rate < float("inf"):
            raise InvalidArgumentError(
                f"expected rate to be documents per second > 0, got {self.rate!r}"
            )

    def job(self, record: SpaceRecord) -> str:
        """Return the name of the job that this asks for: the same request is the same job."""
        identity = json.dumps([record.id, self.budget, self.priority, self.seed])
        return f"{JOB_PREFIX}{hashlib.sha256(identity.encode()).hexdigest()[:32]}"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class BackfillState:
    """Progress of a job at a commit.

    Attributes
    ----------
    base : int
        The version that the order is worked out from.
    done : int
        Documents embedded.
    to, priority, budget
        For those who list what is pending.
    """

    base: int
    done: int
    to: str
    priority: str
    budget: int | None

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Self:
        """Read back what was committed."""
        return cls(**state)
