"""The SQL catalog: names, versions and which files each version consists of.

The only room that knows SQLAlchemy. It holds no vectors, and nothing here runs per query.
"""

from vecstore.catalog.catalog import Catalog
from vecstore.catalog.records import (
    Changes,
    CollectionRecord,
    DefaultRecord,
    FileRecord,
    History,
    IndexRecord,
    SpaceRecord,
    State,
    Sweep,
    TranslatorRecord,
    VersionRecord,
)

__all__ = [
    "Catalog",
    "Changes",
    "CollectionRecord",
    "DefaultRecord",
    "FileRecord",
    "History",
    "IndexRecord",
    "SpaceRecord",
    "State",
    "Sweep",
    "TranslatorRecord",
    "VersionRecord",
]
