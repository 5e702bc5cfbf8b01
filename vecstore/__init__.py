"""vecstore: a vector database with versioned embedding spaces.

One collection holds vectors of several model generations; learned translators connect the
generations, so one query searches the whole corpus now, and re-embedding becomes optional,
gradual and measured. Start with :func:`open`.
"""

from vecstore._version import __version__
from vecstore.backup import restore
from vecstore.collection import Collection
from vecstore.encoding import Encoder
from vecstore.errors import VecstoreError
from vecstore.fitting import TranslatorReport
from vecstore.guards import SuspiciousVectorsWarning
from vecstore.hits import Hit, Hits, Provenance, SearchResult
from vecstore.reading import CollectionVersion, Item
from vecstore.search.plan import Plan
from vecstore.spaces import EncodingProfile, Space
from vecstore.store import Store, open
from vecstore.upgrade.assessment import UpgradeAssessment
from vecstore.writes import Checkpoint, WriteResult

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
