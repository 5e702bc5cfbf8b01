"""Which column of a file is what: ids, vectors by space, document, metadata."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vecstore.errors import IngestError, InvalidArgumentError, NotFoundError
from vecstore.spaces import Space
from vecstore.storage.items import RESERVED_COLUMNS
from vecstore_ingest.columns import infer_type

__all__ = ["ColumnMapping", "Resolved", "VectorColumn"]

ID_NAMES = ("id", "_id", "ids", "uuid")
VECTOR_NAMES = ("vector", "embedding", "emb", "vectors", "embeddings")
DOCUMENT_NAMES = ("document", "text", "content", "documents", "texts")

_NUMBERED = re.compile(r"(.*?)[_.-]?(\d+)")
_SHORT_VECTOR_NAMES = ("", "v", "x", "d", "e", "f", "dim")
# A list column this long, always of one length, is an embedding and not a list of ratings.
_LIKELY_DIM = 16


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class VectorColumn:
    """Vectors for a space: one column, or the numbered columns ``members``."""

    column: str
    space: str
    members: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the file that it takes."""
        return self.members or (self.column,)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """A mapping held against the columns of one file.

    ``embed`` says that the file has documents and no vectors, and an encoder may make these.
    """

    id: str
    vectors: tuple[VectorColumn, ...]
    document: str | None
    taken: frozenset[str]
    include: frozenset[str] | None
    renamed: Mapping[str, str]
    types: Mapping[str, pa.DataType]
    inferred: frozenset[str] = frozenset()
    embed: bool = False

    def metadata(self, names: Sequence[str]) -> dict[str, str]:
        """Return the metadata columns among a chunk's columns: name in the file -> name stored."""
        return {
            name: self.renamed.get(name, name)
            for name in names
            if name not in self.taken and (self.include is None or name in self.include)
        }


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnMapping:
    """Which column is what; whatever is left out is found by name.

    Parameters
    ----------
    id : str, optional
        Found as ``id``, ``_id``, ``ids`` or ``uuid``. Integers become decimal strings.
    vectors : mapping of column to space, optional
        Found as a column named like a space, or else ``vector``, ``embedding`` or ``emb``
        (also in the plural) for the job's one space. ``{"v": "space"}`` also takes the
        numbered columns v0, v1, ... ``{}`` means none.
    document : str, optional
        Found as ``document``, ``text`` or ``content`` (also in the plural); ``""`` means none.
    include : sequence of str, optional
        The metadata columns; by default every column that is not one of the above.
    exclude : sequence of str
        Columns to leave out.
    rename : mapping of str to str
        Column in the file -> metadata column.
    types : mapping of str to str
        Metadata column in the file -> Arrow type, such as ``"string"`` or ``"timestamp[s]"``.
        Matters for CSV, whose types are otherwise found in the first chunk of each file.
    """

    id: str | None = None
    vectors: Mapping[str, str] | None = None
    document: str | None = None
    include: Sequence[str] | None = None
    exclude: Sequence[str] = ()
    rename: Mapping[str, str] = field(default_factory=dict)
    types: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the mapping as JSON."""
        return {
            "id": self.id,
            "vectors": None if self.vectors is None else dict(self.vectors),
            "document": self.document,
            "include": None if self.include is None else list(self.include),
            "exclude": list(self.exclude),
            "rename": dict(self.rename),
            "types": dict(self.types),
        }

    def resolve(
        self,
        batch: pa.RecordBatch,
        *,
        file: str,
        spaces: Mapping[str, Space],
        space: str | None = None,
        untyped: bool = False,
        embed: bool = False,
    ) -> Resolved:
        """Hold the mapping against the first rows of a file.

        Parameters
        ----------
        spaces : mapping of name to space
            The collection's.
        space : str, optional
            Where a column of vectors goes that is not named like a space; by default the
            collection's only space.
        untyped : bool
            Every column is text, and the types of metadata are found here.
        embed : bool
            Documents may be embedded where there is no column of vectors.

        Raises
        ------
        IngestError
            A column is missing or could be several things; lists the columns found.
        NotFoundError
            The mapping names a space that the collection does not have.
        """
        names = batch.schema.names
        found = f"the columns are {', '.join(map(repr, names[:40]))}"
        if len(set(names)) < len(names):
            raise IngestError(f"{file}: expected distinct column names; {found}")
        for name in [*self.rename, *self.types, *(self.include or ())]:
            if batch.num_rows and name not in names:
                raise IngestError(f"{file}: expected a column {name!r}; {found}")
        identifier = _one(self.id, ID_NAMES, names)
        if identifier is None:
            raise IngestError(
                f"{file}: expected an id column {self.id or ' or '.join(ID_NAMES)!r}; {found}; "
                "name it with mapping.id"
            )
        document = None if self.document == "" else _one(self.document, DOCUMENT_NAMES, names)
        embed = embed and document is not None and self.vectors is None
        vectors = self._vectors(
            batch, file=file, found=found, spaces=spaces, space=space, optional=embed
        )
        if self.document and document is None:
            raise IngestError(f"{file}: expected a document column {self.document!r}; {found}")
        taken = {identifier, *self.exclude, *(c for v in vectors for c in v.columns)}
        if document is not None:
            taken.add(document)
        resolved = Resolved(
            id=identifier,
            vectors=vectors,
            document=document,
            taken=frozenset(taken),
            include=None if self.include is None else frozenset(self.include),
            renamed=dict(self.rename),
            types={name: _type(alias) for name, alias in self.types.items()},
            embed=embed and not vectors,
        )
        metadata = resolved.metadata(names)
        self._refuse_misfits(batch, metadata, file=file)
        if not untyped:
            return resolved
        inferred = {n: infer_type(batch.column(n)) for n in metadata if n not in self.types}
        return replace(resolved, types={**resolved.types, **inferred}, inferred=frozenset(inferred))

    def _vectors(
        self,
        batch: pa.RecordBatch,
        *,
        file: str,
        found: str,
        spaces: Mapping[str, Space],
        space: str | None,
        optional: bool,
    ) -> tuple[VectorColumn, ...]:
        """Return where vectors are."""
        names = batch.schema.names
        numbered = _numbered(names)
        chosen = self.vectors
        if chosen is None:
            target = space or (next(iter(spaces)) if len(spaces) == 1 else None)
            wanted = None if optional else space
            chosen = _detect(
                batch, numbered, spaces, space, target, wanted=wanted, file=file, found=found
            )
        columns = []
        for column, name in chosen.items():
            if name not in spaces:
                raise NotFoundError(
                    f"expected one of the collection's spaces {', '.join(spaces) or '(none)'}, got "
                    f"{name!r}; create it with create_space, or map {column!r} to another"
                )
            members = () if column in names else numbered.get(column, ())
            if column not in names and not members:
                raise IngestError(f"{file}: expected a vector column {column!r}; {found}")
            if members and len(members) != spaces[name].dim:
                raise IngestError(
                    f"{file}: expected {spaces[name].dim} numbered columns for space {name!r}, got "
                    f"the {len(members)} from {members[0]!r} to {members[-1]!r}"
                )
            columns.append(VectorColumn(column=column, space=name, members=members))
        if len({c.space for c in columns}) < len(columns):
            raise IngestError(
                f"{file}: expected one column per space, got {dict(chosen)}; name the right ones "
                "with mapping.vectors"
            )
        return tuple(columns)

    def _refuse_misfits(
        self, batch: pa.RecordBatch, metadata: Mapping[str, str], *, file: str
    ) -> None:
        """Refuse names the store keeps for itself, and embeddings that no space takes."""
        for name, stored in metadata.items():
            if stored in RESERVED_COLUMNS:
                raise IngestError(
                    f"{file}: column {name!r} would be metadata named {stored!r}, which is "
                    "reserved; rename it with mapping.rename, or leave it out with mapping.exclude"
                )
            named = name in (self.include or ()) or name in self.rename
            if not named and _looks_like_vectors(batch.column(name)):
                raise IngestError(
                    f"{file}: column {name!r} holds vectors, but no space takes it; map it with "
                    "mapping.vectors, or leave it out with mapping.exclude"
                )
        if len(set(metadata.values())) < len(metadata):
            raise IngestError(
                f"{file}: expected distinct metadata columns, got {list(metadata.values())}; "
                "correct mapping.rename"
            )


def _one(given: str | None, candidates: Sequence[str], names: Sequence[str]) -> str | None:
    """Return the given column, or the first candidate, if the file has it."""
    wanted = candidates if given is None else (given,)
    return next((name for name in wanted if name in names), None)


def _detect(
    batch: pa.RecordBatch,
    numbered: Mapping[str, tuple[str, ...]],
    spaces: Mapping[str, Space],
    space: str | None,
    target: str | None,
    *,
    wanted: str | None,
    file: str,
    found: str,
) -> dict[str, str]:
    """Find vector columns by their names; ``wanted`` is a space that must get one."""
    names = batch.schema.names
    by_space = {
        name: name
        for name in names
        # A column v1 among v0, v1, ... is a component, whatever the spaces are called.
        if name in spaces and space in (None, name) and _may_hold_lists(batch.column(name))
    }
    if by_space:
        return by_space
    likely = [name for name in names if name in VECTOR_NAMES]
    if not likely:
        dim = spaces[target].dim if target is not None and target in spaces else None
        likely = [
            prefix
            for prefix, members in numbered.items()
            if prefix in VECTOR_NAMES
            or prefix in spaces
            or (prefix in _SHORT_VECTOR_NAMES and len(members) == dim)
        ]
    if not likely:
        if wanted is None:
            return {}
        raise IngestError(
            f"{file}: expected a column of vectors for space {wanted!r}; {found}; name it with "
            "mapping.vectors"
        )
    if len(likely) > 1 or target is None:
        raise IngestError(
            f"{file}: cannot tell which of {', '.join(map(repr, likely))} goes to which space of "
            f"{', '.join(spaces) or '(none)'}; say it with mapping.vectors"
        )
    return {likely[0]: target}


def _numbered(names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return columns like v0, v1, ... (from 0 or 1, none missing) by their common prefix."""
    groups: dict[str, dict[int, str]] = {}
    for name in names:
        match = _NUMBERED.fullmatch(name)
        if match and len(match[2]) <= 6:
            groups.setdefault(match[1], {})[int(match[2])] = name
    complete = {}
    for prefix, members in groups.items():
        numbers = sorted(members)
        if len(numbers) > 1 and numbers in (
            list(range(len(numbers))),
            list(range(1, len(numbers) + 1)),
        ):
            complete[prefix] = tuple(members[i] for i in numbers)
    return complete


def _may_hold_lists(column: pa.Array) -> bool:
    """Whether values are lists, or text that begins like one; or there are no values."""
    values = pc.drop_null(column)
    return not len(values) or isinstance(values[0].as_py(), list) or str(values[0])[:1] == "["


def _looks_like_vectors(column: pa.Array) -> bool:
    kind = column.type
    if pa.types.is_fixed_size_list(kind):
        return bool(pa.types.is_floating(kind.value_type))
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
        return False
    if not pa.types.is_floating(kind.value_type):
        return False
    lengths = np.asarray(pc.drop_null(pc.list_value_length(column)))
    return bool(len(lengths) and lengths.min() == lengths.max() and lengths[0] >= _LIKELY_DIM)


def _type(alias: str) -> pa.DataType:
    try:
        return pa.type_for_alias(alias)
    except ValueError as error:
        raise InvalidArgumentError(
            f"mapping.types: expected an Arrow type such as 'string', 'int64' or 'timestamp[s]', "
            f"got {alias!r}"
        ) from error
