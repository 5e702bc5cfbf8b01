"""What --json prints, command by command: a promise, written into the reference and tested.

A dictionary is an object, a list of one member an array; a text says what a value is.
"""

from __future__ import annotations

from typing import Any, Final

__all__ = ["SHAPES"]

_SPACE: Final = {
    "name": "text",
    "dim": "integer",
    "metric": "cosine, ip or l2",
    "dtype": "float32 or float16",
    "model": "text or null",
    "revision": "text or null",
    "supersedes": "name of a space or null",
    "default": "whether searches that name no space rank in it",
    "encoder": "address of the encoder that embeds texts for it, or null",
    "generation": "integer from 1",
    "native": "items with a native vector",
    "coverage": "share of items with a native vector, 0 to 1",
    "fingerprint": "hex digest of the embedding function",
}
_TRANSLATOR: Final = {
    "id": "text",
    "source": "name of a space",
    "target": "name of a space",
    "side": "documents or queries",
    "family": "text",
    "pairs": "integer",
    "overlap": "neighbour overlap on held-out pairs: mean, low, high",
    "version": "integer",
    "bytes": "integer",
}
_INDEX: Final = {
    "id": "text",
    "space": "name of a space",
    "kind": "text",
    "translator": "text, or null for native vectors",
    "execution": "rewrite or fold, or null for native vectors",
    "parameters": "object",
    "rows": "integer",
    "bytes": "integer",
    "report": "null, or what tuning measured: object of target, reached, recall, k, queries, "
    "origin, speedup, seconds, memory_limit, tried, chosen",
}
_HIT: Final = {
    "id": "text",
    "score": "number, larger is better",
    "distance": "number, smaller is better",
    "provenance": "native or translated",
    "space": "space of the item's vector",
    "translators": "ids of the translators on the route",
    "document": "text or null",
    "metadata": "object",
}
_SWITCH: Final = {
    "before": "the default space before, or null",
    "after": "the default space since, or null",
    "version": "integer",
}
_INTERVAL: Final = "object of mean, low, high, confidence; null where it cannot be measured"

SHAPES: Final[dict[str, Any]] = {
    "init": {"collections": "names"},
    "info": {
        "collections": [
            {
                "name": "text",
                "version": "integer",
                "items": "integer",
                "columns": "object of name to type: what a filter can use",
                "spaces": [_SPACE],
                "translators": [_TRANSLATOR],
                "indexes": [_INDEX],
                "index_advice": "sentences: where an index would pay",
                "bytes": "object of kind of file to size",
                "segments": [
                    {
                        "kind": "items or vectors",
                        "space": "name of a space, or null for items",
                        "files": "integer",
                        "small_files": "files that compact would merge",
                        "delete_files": "integer",
                        "rows": "integer",
                        "dead": "rows that are dead",
                        "dead_share": "number, 0 to 1",
                        "bytes": "integer",
                    }
                ],
                "advice": "why compact is due, or null",
            }
        ]
    },
    "versions": [
        {
            "version": "integer",
            "committed_at": "ISO time",
            "operation": "text",
            "rows": "integer",
            "expired": "whether it can no longer be read",
        }
    ],
    "compact": {
        "version": "integer",
        "files_before": "files that were rewritten",
        "files_after": "files in their place",
        "bytes_before": "integer",
        "bytes_after": "integer",
        "dropped": "dead rows left out",
        "dry_run": "boolean",
    },
    "expire": {
        "first_version": "the oldest that can be read",
        "version": "the newest",
        "expired": "integer",
        "dry_run": "boolean",
    },
    "gc": {
        "files": "integer",
        "bytes": "integer",
        "kinds": "object of kind of file to number",
        "dry_run": "boolean",
    },
    "backup": {
        "collections": "object of name to the newest version in the backup",
        "files": "of the whole backup",
        "bytes": "of those files",
        "copied_files": "that were not there from an earlier backup",
        "copied_bytes": "integer",
        "removed_files": "that only earlier backups had",
        "indexes_left_out": "paths of indexes that were missing or damaged",
    },
    "restore": {
        "collections": "object of name to newest version",
        "made_at": "when the backup was made, in UTC",
        "files": "integer",
        "bytes": "integer",
        "indexes_left_out": "paths of indexes that are damaged in the backup",
    },
    "collection create": {"name": "text", "version": "integer"},
    "collection list": [{"name": "text", "items": "integer", "version": "integer"}],
    "collection rename": {"name": "text", "version": "integer"},
    "collection drop": {"name": "text", "items": "integer"},
    "space create": _SPACE,
    "space list": [_SPACE],
    "space drop": {"name": "text", "vectors": "integer", "version": "integer"},
    "ingest": {
        "collection": "text",
        "version": "integer",
        "rows_read": "integer",
        "rows_written": "integer",
        "rows_rejected": "integer",
        "batches": "commits",
        "seconds": "number",
        "resumed_from": "rows that earlier runs of the job had settled",
        "indexes": [_INDEX],
    },
    "export": {"path": "text", "rows": "integer", "seconds": "number"},
    "search": {
        "version": "integer",
        "space": "the ranking space",
        "queries": [{"query": "id, or number from 0, as text", "hits": [_HIT]}],
    },
    "search --explain": {
        "version": "integer",
        "space": "the ranking space",
        "live": "items",
        "unserved": "items that no source serves",
        "sources": [
            {
                "kind": "native, forward or query",
                "space": "name of a space",
                "rows": "integer",
                "route": "ids of translators",
                "execution": "text or null",
                "offset": "number added to the scores of the source",
                "index": "kind of index, or exact",
                "index_speedup": "how many times as fast an index would be, or null",
            }
        ],
    },
    "get": [
        {
            "id": "text",
            "document": "text or null",
            "metadata": "object",
            "vectors": "with --space: object of space to vector",
        }
    ],
    "count": {"items": "integer", "version": "integer"},
    "delete": {"deleted": "integer", "version": "integer"},
    "translator fit": {
        "id": "text",
        "source": "name of a space",
        "target": "name of a space",
        "side": "documents or queries",
        "family": "the chosen one",
        "pairs": "integer",
        "quality": _INTERVAL,
        "status_quo": _INTERVAL,
        "naive_swap": _INTERVAL,
        "shuffled_pairs": _INTERVAL,
        "candidates": "arrays of family, held-out overlap, standard error, seconds; best first",
        "seconds": "number",
    },
    "translator list": [_TRANSLATOR],
    "translator drop": {"id": "text", "version": "integer"},
    "index build": {
        "index": _INDEX,
        "reason": "why nothing was built and index is null; null where one was",
    },
    "index list": [_INDEX],
    "index drop": {"id": "text"},
    "upgrade assess": {
        "collection": "text",
        "version": "integer",
        "source": "name of a space",
        "target": "name of a space",
        "metric": "ndcg, or overlap with the new model's own answer where nothing is judged",
        "k": "integer",
        "asked": "what the queries were, in words",
        "items": "items that are searched",
        "pairs": "pairs the translators were fitted on",
        "sample": "documents that were ranked",
        "queries": "integer",
        "family": "the chosen one",
        "options": [
            {
                "name": "stay, naive, query-side, forward, cascade@DEPTH or re-embed; +lexical",
                "title": "text",
                "quality": _INTERVAL,
                "gain": "object like quality: paired difference to stay; null for stay itself",
                "cost": {
                    "documents": "embedded before the first query",
                    "documents_per_query": "at most, while nothing is covered",
                    "tokens": "of documents, estimated",
                    "seconds": "of documents, or null if no encoder ran",
                    "price": "of tokens, or null without --price",
                },
                "weight": "of words, or null",
            }
        ],
        "recommendation": {
            "option": "name of an option",
            "reason": "text",
            "retention": "share of the quality of a full re-embed",
            "weight": "of words, or null",
        },
        "coverage": "history: objects of at, version, space, native, items",
        "seconds": "number",
        "embedded": "documents that were embedded for this",
    },
    "upgrade status": {
        "collection": "text",
        "version": "integer",
        "items": "integer",
        "default_space": "name of a space or null",
        "generations": [
            {
                "space": "text",
                "generation": "integer from 1",
                "supersedes": "name of a space or null",
                "default": "boolean",
                "retired_version": "integer or null",
                "native": "items that a search in it serves by their own vectors",
                "translated": "items that it serves by routes",
                "unserved": "items that it does not serve",
                "coverage": "share of items with a native vector, 0 to 1",
                "demand": "share of what was asked for that has a native vector, or null",
                "routes": "objects of path, kind, families, items, overlap, predicted",
                "retirable": "whether no item would be left unserved without it",
            }
        ],
        "jobs": "interrupted backfills: objects of to, priority, budget, done, base",
        "refits": [
            {
                "id": "of the translator",
                "source": "name of a space",
                "target": "name of a space",
                "side": "documents or queries",
                "fitted": "pairs it was fitted on",
                "pairs": "pairs there are",
                "due": "boolean",
            }
        ],
        "advice": "texts: what could be done next",
    },
    "upgrade refit": [
        {
            "replaced": "id of the old translator",
            "id": "of the new one, or null if the old one was kept",
            "source": "name of a space",
            "target": "name of a space",
            "side": "documents or queries",
            "fitted": "pairs of the old fit",
            "pairs": "pairs of the new fit",
            "family": "of the new fit",
            "before": "overlap of the old fit on pairs that neither has seen, or null",
            "after": "overlap of the new one, or null",
            "gain": _INTERVAL,
        }
    ],
    "upgrade tune-lexical": {
        "space": "text",
        "weight": "the weight that searches use from now on",
        "quality": _INTERVAL,
        "without": "mean nDCG@k of vectors alone",
        "measured": "list of [weight, mean nDCG@k]",
        "queries": "judged queries that have a live answer",
    },
    "upgrade switch": _SWITCH,
    "upgrade rollback": _SWITCH,
    "upgrade retire": {
        "space": "text",
        "vectors": "native vectors that the collection no longer has",
        "unserved": "items that no search reaches any more",
        "bytes": "of the vector files",
        "translators": "ids of those that led nowhere without it and were dropped",
        "version": "integer",
    },
    "doctor": {
        "healthy": "whether no error and no warning is left",
        "findings": [
            {
                "severity": "error (damage), warning (a cache, an answer) or notice (space)",
                "check": "text",
                "collection": "text, or null for the store",
                "file": "path below the data root, or null",
                "finding": "text",
                "remedy": "text",
                "repaired": "boolean",
            }
        ],
        "checks": "array of text",
        "files": "read and verified",
        "bytes": "of those files",
        "seconds": "number",
    },
    "backfill": {
        "to": "name of a space",
        "embedded": "documents, earlier runs of the job included",
        "resumed_from": "how many of them earlier runs had embedded",
        "without_document": "items that have none, of those met",
        "refused": "items whose document the encoder refuses",
        "elsewhere": "items that another job is embedding",
        "missing": "items without a native vector after it",
        "coverage": "share of items with a native vector after it, 0 to 1",
        "finished": "false if it was interrupted",
        "refits": "translators fitted again on the way",
        "version": "integer",
        "seconds": "number",
    },
    "demo": {
        "items": "integer",
        "queries": "integer",
        "pairs": "integer",
        "seconds": "object of step to seconds",
        "translators": "as translator fit prints them",
        "methods": [
            {
                "key": "old, query, forward, cascade20, cascade50 or full",
                "name": "text",
                "ndcg": "nDCG@10",
                "recall": "recall@10",
                "share": "items embedded with the new model, 0 to 1",
                "milliseconds": "median of a single query",
            }
        ],
        "examples": "arrays of hits of three queries, by the old model and translated",
        "merged_query_side": "nDCG@10",
        "notes": "texts",
    },
}
