"""Encoders that need no model at hand; anything with the protocol of vecstore serves as well."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np
from numpy.typing import NDArray

from vecstore import Encoder, EncodingProfile
from vecstore.errors import InvalidVectorsError, NotFoundError, UnpairedRowsError

__all__ = ["Encoder", "LookupEncoder"]

_EXAMPLES = 3
_EXAMPLE_LENGTH = 60


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
        self._rows = {text: row for row, text in enumerate(texts)}

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
