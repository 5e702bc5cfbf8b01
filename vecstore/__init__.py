"""vecstore: a vector database with versioned embedding spaces.

One collection holds vectors of several model generations; learned translators connect the
generations, so one query searches the whole corpus now, and re-embedding becomes optional,
gradual and measured. Start with :func:`open`.
"""

import importlib
import typing

from vecstore._version import __version__
from vecstore.collection import Collection
from vecstore.encoding import Encoder
from vecstore.errors import VecstoreError
from vecstore.hits import Hit, Hits, Provenance, SearchResult
from vecstore.items import Item
from vecstore.reading import CollectionVersion
from vecstore.search.plan import Plan
from vecstore.spaces import EncodingProfile, Space
from vecstore.store import Store, open
from vecstore.writes import Checkpoint, WriteResult

if typing.TYPE_CHECKING:
    from vecstore.backup import restore
    from vecstore.fitting import TranslatorReport
    from vecstore.guards import SuspiciousVectorsWarning
    from vecstore.upgrade.assessment import UpgradeAssessment

__all__ = [
    "Checkpoint",
    "Collection",
    "CollectionVersion",
    "Encoder",
    "EncodingProfile",
    "Hit",
    "Hits",
    "Item",
    "Plan",
    "Provenance",
    "SearchResult",
    "Space",
    "Store",
    "SuspiciousVectorsWarning",
    "TranslatorReport",
    "UpgradeAssessment",
    "VecstoreError",
    "WriteResult",
    "__version__",
    "open",
    "restore",
]

# Looked up when they are used, because who opens a store and searches it needs nothing of these.
_MODULES = {
    "SuspiciousVectorsWarning": "guards",
    "TranslatorReport": "fitting",
    "UpgradeAssessment": "upgrade.assessment",
    "restore": "backup",
}

if not typing.TYPE_CHECKING:  # a type checker would take any name for one of them

    def __getattr__(name):
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
