"""Vectors computed beforehand, in memory or in a file: ``vectors:file.parquet?model=...``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vecstore import EncodingProfile
from vecstore.errors import (
    IngestError,
    InvalidVectorsError,
    NotFoundError,
    UnpairedRowsError,
)
from vecstore_ingest.columns import as_texts, vector_column
from vecstore_ingest.encoders.address import Address
from vecstore_ingest.formats import open_reader
from vecstore_ingest.formats.reader import Source
from vecstore_ingest.mapping import DOCUMENT_NAMES, VECTOR_NAMES

__all__ = ["LookupEncoder", "open_lookup"]

_EXAMPLES = 3
_EXAMPLE_LENGTH = 60
_CHUNK_ROWS = 8192


@final
class LookupEncoder:
    """Vectors computed beforehand, looked up by their exact text. It embeds nothing itself.

    For demonstrations, tests, and corpora whose new vectors lie in a file already.

    Parameters
    ----------
    name, revision : str
        The model that computed the vectors; held against the space's.
    profile : EncodingProfile, optional
        How it did; held against the space's as well.
    texts : sequence of str
        Documents and queries alike. Of equal texts the last one counts.
    vectors : ndarray of shape (len(texts), d)
        Float16 stays float16 in memory; float32 comes out.
    address : str, optional
        Where a registry finds it again.

    Raises
    ------
    UnpairedRowsError
        The numbers of texts and vectors differ.
    InvalidVectorsError
        The vectors are not a matrix of real numbers.

    Examples
    --------
    >>> encoder = LookupEncoder(name="m", texts=["a", "b"], vectors=np.eye(2))
    >>> encoder.encode_documents(["b"])
    array([[0., 1.]], dtype=float32)
    """

    def __init__(
        self,
        *,
        name: str,
        revision: str | None = None,
        profile: EncodingProfile | None = None,
        texts: Sequence[str],
        vectors: NDArray[np.floating],
        address: str | None = None,
    ) -> None:
        if vectors.ndim != 2 or vectors.dtype.kind != "f":
            raise InvalidVectorsError(
                f"expected floats of shape (n, d), got {vectors.dtype} of shape {vectors.shape}"
            )
        if len(texts) != len(vectors):
            raise UnpairedRowsError(
                f"expected one vector per text, got {len(texts)} texts and {len(vectors)} vectors"
            )
        self._name = name
        self._revision = revision
        self._profile = profile or EncodingProfile()
        self._vectors = vectors
        self._address = address
        self._rows = {text: row for row, text in enumerate(texts)}

    def __repr__(self) -> str:
        return f"<LookupEncoder {self._name!r}: {len(self._rows):,} texts>"

    @property
    def address(self) -> str | None:
        """Where a registry finds it again."""
        return self._address

    @property
    def name(self) -> str:
        """The model that computed the vectors."""
        return self._name

    @property
    def revision(self) -> str | None:
        """Its revision."""
        return self._revision

    @property
    def profile(self) -> EncodingProfile:
        """How it did."""
        return self._profile

    @property
    def dim(self) -> int:
        """Dimension of the vectors."""
        return int(self._vectors.shape[1])

    def encode_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Look documents up.

        Returns
        -------
        ndarray of shape (len(texts), dim), float32

        Raises
        ------
        NotFoundError
            Some texts have no vector; counts them and shows the first.
        """
        unknown = [text for text in texts if text not in self._rows]
        if unknown:
            shown = ", ".join(repr(text[:_EXAMPLE_LENGTH]) for text in unknown[:_EXAMPLES])
            raise NotFoundError(
                f"expected texts whose {self._name} vectors were computed beforehand, but "
                f"{len(unknown)} of {len(texts)} are unknown, such as {shown}; a lookup cannot "
                "embed them: use the model itself"
            )
        rows = np.fromiter((self._rows[text] for text in texts), np.int64, len(texts))
        return np.ascontiguousarray(self._vectors[rows], dtype=np.float32)

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Look queries up, as :meth:`encode_documents` does."""
        return self.encode_documents(texts)


def open_lookup(
    path: str,
    /,
    *,
    model: str,
    revision: str | None = None,
    text: str | None = None,
    vector: str | None = None,
    document_prompt: str = "",
    query_prompt: str = "",
) -> LookupEncoder:
    """Read texts and their vectors from a file of any source format that has columns.

    Parameters
    ----------
    path : str
    model, revision, document_prompt, query_prompt : str
        What computed the vectors, and how.
    text, vector : str, optional
        The columns; by default found by their usual names.

    Raises
    ------
    IngestError
        The file cannot be read, or lacks a column.
    InvalidVectorsError
        Texts without a vector, or vectors of several dimensions.
    """
    texts: list[str] = []
    parts: list[NDArray[np.float32]] = []
    columns: tuple[str, str] | None = None
    for chunk in open_reader(Source(path=path)).chunks(batch_rows=_CHUNK_ROWS):
        names = chunk.batch.schema.names
        if columns is None:
            columns = (
                _column(text, DOCUMENT_NAMES, names, path=path, what="texts"),
                _column(vector, VECTOR_NAMES, names, path=path, what="vectors"),
            )
        found = as_texts(chunk.batch.column(columns[0]), column=columns[0], file=path)
        array = chunk.batch.column(columns[1])
        dim = parts[0].shape[1] if parts else _length(array)
        rows, present, faults = vector_column(
            [array], column=columns[1], file=path, dim=dim, cosine=False, half=False
        )
        if found is None or found.null_count or not present.all() or faults or chunk.bad:
            reason = faults[0].reason if faults else "a null"
            raise InvalidVectorsError(
                f"{path}: expected a text and a vector of {dim} dimensions in every row, got "
                f"{reason}; leave such rows out of the file"
            )
        texts += found.to_pylist()
        parts.append(rows)
    if columns is None:
        raise IngestError(f"{path}: expected texts and vectors, got an empty file")
    profile = EncodingProfile(document_prompt=document_prompt, query_prompt=query_prompt)
    options = {"model": model, "revision": revision, "text": text, "vector": vector}
    prompts = {"document_prompt": document_prompt, "query_prompt": query_prompt}
    return LookupEncoder(
        name=model,
        revision=revision,
        profile=profile,
        texts=texts,
        vectors=np.concatenate(parts),
        address=str(Address.of("vectors", str(Path(path).absolute()), options | prompts)),
    )


def _column(
    given: str | None, candidates: Sequence[str], names: Sequence[str], *, path: str, what: str
) -> str:
    wanted = candidates if given is None else (given,)
    column = next((name for name in wanted if name in names), None)
    if column is None:
        raise IngestError(
            f"{path}: expected a column of {what} called {' or '.join(wanted)}, got the columns "
            f"{', '.join(map(repr, names))}; name it with the option "
            f"{'text' if what == 'texts' else 'vector'}"
        )
    return column


def _length(array: pa.Array) -> int:
    """Return the dimension of the first vector, 0 where there is none."""
    first = array.drop_null()[:1].to_pylist()
    return len(first[0]) if first and isinstance(first[0], list) else 0
