"""Translators without pairs: two clouds of vectors of the same kind of text, no common item.

What such a fit returns can be badly wrong without looking wrong, so everything here passes a
gate, and :class:`~vecstore_translators.errors.CouldNotAlignError` is an ordinary outcome.
"""

from vecstore_translators.unpaired.alignment import Alignment, UnpairedAligner
from vecstore_translators.unpaired.gate import Evidence

__all__ = ["Alignment", "Evidence", "UnpairedAligner"]
