"""Default values of the verbs' arguments, apart from the modules that do the work.

Whoever opens a store reads the signatures of all verbs; of most he never needs more.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

__all__ = [
    "COMPACT_AFTER",
    "DEFAULT_DEPTHS",
    "DOCTOR_GRACE",
    "GC_GRACE",
    "MAX_PAIRS",
    "TARGET_BYTES",
]

COMPACT_AFTER: Final = 64
"""Small files of a kind that automatic compaction merges."""

TARGET_BYTES: Final = 256 << 20
"""Bytes of a file that compaction makes."""

GC_GRACE: Final = timedelta(hours=1)
"""How long garbage collection leaves files for those who may be writing or opening them."""

DOCTOR_GRACE: Final = timedelta(days=1)
"""How old a file must be for the doctor to say that nobody is writing it."""

MAX_PAIRS: Final = 100_000
"""Pairs that a translator is fitted on; of more, a sample."""

DEFAULT_DEPTHS: Final = (20, 50, 100)
"""Shortlists of the cascades that an assessment compares."""
