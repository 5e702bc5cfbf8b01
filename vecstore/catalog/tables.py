"""The tables. Rows that belong to versions carry the half-open range [added, removed)."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.types import JSON

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _belongs_to_collection() -> Column[str]:
    return Column(
        "collection_id",
        ForeignKey("collections.id", ondelete="CASCADE"),
        nullable=False,
        index=True,
    )


def _version_range() -> tuple[Column[int], Column[int]]:
    return (
        Column("added_version", BigInteger, nullable=False),
        Column("removed_version", BigInteger),
    )


migrations = Table(
    "migrations",
    metadata,
    Column("version", Integer, primary_key=True),
    Column("name", String(100), nullable=False),
    Column("applied_at", DateTime(timezone=True), nullable=False),
)

collections = Table(
    "collections",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("name", String(128), nullable=False, unique=True),
    Column("directory", String(100), nullable=False, unique=True),
    Column("version", BigInteger, nullable=False),
    Column("first_version", BigInteger, nullable=False),  # older ones have expired
    Column("next_row_id", BigInteger, nullable=False),
)

versions = Table(
    "versions",
    metadata,
    _belongs_to_collection(),
    Column("version", BigInteger, nullable=False),
    Column("committed_at", DateTime(timezone=True), nullable=False),
    Column("operation", Text, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("token", String(32)),  # of the writer's attempt, who may not hear that it succeeded
    UniqueConstraint("collection_id", "version", name="uq_versions_version"),
)

# When versions expired: their files stay for a grace period after that.
expirations = Table(
    "expirations",
    metadata,
    _belongs_to_collection(),
    Column("first_version", BigInteger, nullable=False),
    Column("expired_at", DateTime(timezone=True), nullable=False),
)

# Files that were deleted before anybody had committed them; nobody can any more.
collected = Table(
    "collected",
    metadata,
    _belongs_to_collection(),
    Column("path", Text, nullable=False),
    UniqueConstraint("collection_id", "path", name="uq_collected_path"),
)

schemas = Table(
    "schemas",
    metadata,
    _belongs_to_collection(),
    Column("version", BigInteger, nullable=False),
    Column("arrow_schema", LargeBinary, nullable=False),
    UniqueConstraint("collection_id", "version", name="uq_schemas_version"),
)

spaces = Table(
    "spaces",
    metadata,
    Column("id", String(32), primary_key=True),
    _belongs_to_collection(),
    Column("name", String(128), nullable=False),
    Column("dim", Integer, nullable=False),
    Column("metric", String(16), nullable=False),
    Column("dtype", String(16), nullable=False),
    Column("model", Text),
    Column("revision", Text),
    Column("profile", JSON, nullable=False),
    Column("supersedes", String(128)),
    Column("encoder", Text),
    Column("generation", Integer, nullable=False),
    Column("fingerprint", String(32), nullable=False),
    Column("directory", String(100), nullable=False),
    Column("retired_version", BigInteger),
    *_version_range(),
)

default_spaces = Table(
    "default_spaces",
    metadata,
    _belongs_to_collection(),
    Column("version", BigInteger, nullable=False),
    Column("space_id", String(32)),
    Column("restored_version", BigInteger),
    UniqueConstraint("collection_id", "version", name="uq_default_spaces_version"),
)

lexical_weights = Table(
    "lexical_weights",
    metadata,
    _belongs_to_collection(),
    Column("version", BigInteger, nullable=False),
    Column("space_id", String(32), nullable=False),
    Column("weight", Float, nullable=False),
    UniqueConstraint("collection_id", "version", name="uq_lexical_weights_version"),
)

files = Table(
    "files",
    metadata,
    Column("id", String(32), primary_key=True),
    _belongs_to_collection(),
    Column("kind", String(16), nullable=False),
    Column("space_id", String(32)),
    Column("path", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("checksum", String(32), nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("min_row_id", BigInteger, nullable=False),
    Column("max_row_id", BigInteger, nullable=False),
    Column("position", Integer, nullable=False),
    *_version_range(),
)
Index("ix_files_added", files.c.collection_id, files.c.added_version)

translators = Table(
    "translators",
    metadata,
    Column("id", String(32), primary_key=True),
    _belongs_to_collection(),
    Column("source", String(128), nullable=False),
    Column("target", String(128), nullable=False),
    Column("family", String(64), nullable=False),
    Column("files", JSON, nullable=False),
    Column("report", JSON, nullable=False),
    *_version_range(),
)

indexes = Table(
    "indexes",
    metadata,
    Column("id", String(32), primary_key=True),
    _belongs_to_collection(),
    Column("space", String(128), nullable=False),
    Column("translator_id", Text),  # a chain names all its translators
    Column("execution", String(16)),
    Column("kind", String(64), nullable=False),
    Column("parameters", JSON, nullable=False),
    Column("path", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("checksum", String(32), nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("space_id", String(32), nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("report", JSON, nullable=False),
)

checkpoints = Table(
    "checkpoints",
    metadata,
    _belongs_to_collection(),
    Column("job", Text, nullable=False),
    Column("state", JSON, nullable=False),
    UniqueConstraint("collection_id", "job", name="uq_checkpoints_job"),
)

demand = Table(
    "demand",
    metadata,
    Column("id", String(32), primary_key=True),
    _belongs_to_collection(),
    Column("counts", LargeBinary, nullable=False),
)

claims = Table(
    "claims",
    metadata,
    Column("owner", String(200), primary_key=True),
    _belongs_to_collection(),
    Column("space_id", String(32), nullable=False),
    Column("expires", Float, nullable=False),
    Column("row_ids", LargeBinary, nullable=False),
)
