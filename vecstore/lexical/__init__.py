"""The lexical source: BM25 over stored documents, by tantivy; imported nowhere else."""

from vecstore.lexical.cache import LexicalCache
from vecstore.lexical.index import LexicalIndex
from vecstore.lexical.schema import DEFAULT_LANGUAGE, LANGUAGES

__all__ = ["DEFAULT_LANGUAGE", "LANGUAGES", "LexicalCache", "LexicalIndex"]
