"""How documents become terms: one analyzer for documents and queries alike."""

from __future__ import annotations

from functools import lru_cache

import tantivy

__all__ = [
    "BODY",
    "DEFAULT_LANGUAGE",
    "FORMAT",
    "LANGUAGES",
    "ROW",
    "analyzer",
    "open_index",
    "schema",
]

ROW, BODY = "row", "body"

FORMAT = 1
"""Part of the cache's folder name: a change of analysis makes new caches, not wrong ones."""

LANGUAGES = (
    "arabic", "danish", "dutch", "english", "finnish", "french", "german", "greek", "hungarian",
    "italian", "norwegian", "portuguese", "romanian", "russian", "spanish", "swedish", "tamil",
    "turkish", "none",
)  # fmt: skip
"""Languages whose words are stemmed; "none" compares words as they are."""

DEFAULT_LANGUAGE = "english"

_ANALYZER = "vecstore"
_LONGEST_WORD = 40


@lru_cache
def analyzer(language: str) -> tantivy.TextAnalyzer:
    """Return the chain: words, lower case, without accents, stemmed."""
    chain = (
        tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.simple())
        .filter(tantivy.Filter.remove_long(_LONGEST_WORD))
        .filter(tantivy.Filter.lowercase())
        .filter(tantivy.Filter.ascii_fold())
    )
    if language != "none":
        chain = chain.filter(tantivy.Filter.stemmer(language))
    return chain.build()


@lru_cache
def schema() -> tantivy.Schema:
    """Return the two fields: row ids to find and read, words to score."""
    builder = tantivy.SchemaBuilder()
    builder.add_integer_field(ROW, indexed=True, fast=True)
    # Term frequencies are all that BM25 needs; positions would double the size.
    builder.add_text_field(BODY, tokenizer_name=_ANALYZER, index_option="freq")
    return builder.build()


def open_index(folder: str | None, language: str) -> tantivy.Index:
    """Open or create the index of a folder, or one in memory."""
    index = tantivy.Index(schema(), path=folder, reuse=True)
    index.register_tokenizer(_ANALYZER, analyzer(language))
    return index
