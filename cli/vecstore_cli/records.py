"""What the commands show of things: the stable shapes of --json, one function per thing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from vecstore import Collection, CollectionVersion, Hit, Item
from vecstore.backup import BackupReport, RestoreReport
from vecstore.catalog import IndexRecord, TranslatorRecord, VersionRecord
from vecstore.housekeeping.compaction import CompactionReport
from vecstore.housekeeping.garbage import GarbageReport
from vecstore.housekeeping.retention import ExpiryReport
from vecstore.housekeeping.segments import SegmentStatus, advice, segment_status
from vecstore.status import SpaceStatus
from vecstore.tuning.advice import index_advice

__all__ = [
    "backup_record",
    "built_sentence",
    "collection_record",
    "compaction_record",
    "expiry_record",
    "garbage_record",
    "hit_record",
    "index_record",
    "index_summary",
    "item_record",
    "restore_record",
    "space_record",
    "translator_record",
    "version_record",
]


def collection_record(collection: Collection, version: CollectionVersion) -> dict[str, Any]:
    """Return everything `vecstore info` says about a collection."""
    state = version.snapshot.state
    sizes: dict[str, int] = {"items": 0, "vectors": 0, "deletes": 0}
    for file in state.files:
        sizes[file.kind] += file.file.size
    sizes["translators"] = sum(_size(t) for t in version.translators)
    sizes["indexes"] = sum(i.file.size for i in version.indexes)
    statuses = segment_status(version.snapshot)
    return {
        "name": collection.name,
        "version": version.version,
        "items": len(version),
        "columns": {field.name: str(field.type) for field in version.schema},
        "spaces": [space_record(status) for status in version.spaces.values()],
        "translators": [translator_record(t) for t in version.translators],
        "indexes": [index_record(i) for i in version.indexes],
        "index_advice": index_advice(version.spaces, version.indexes),
        "bytes": sizes,
        "segments": [segment_record(status) for status in statuses],
        "advice": advice(statuses),
    }


def space_record(status: SpaceStatus) -> dict[str, Any]:
    """Return a space with its coverage."""
    space = status.space
    return {
        "name": space.name,
        "dim": space.dim,
        "metric": space.metric,
        "dtype": space.dtype,
        "model": space.model,
        "revision": space.revision,
        "supersedes": space.supersedes,
        "default": status.default,
        "encoder": space.encoder,
        "generation": status.generation,
        "native": status.native,
        "coverage": status.coverage,
        "fingerprint": space.fingerprint,
    }


def translator_record(translator: TranslatorRecord) -> dict[str, Any]:
    """Return a translator with what was measured when it was fitted."""
    report = translator.report
    return {
        "id": translator.id,
        "source": translator.source,
        "target": translator.target,
        "side": report.get("side"),
        "family": translator.family,
        "pairs": report.get("pairs"),
        "overlap": report.get("overlap"),
        "version": translator.added_version,
        "bytes": _size(translator),
    }


def index_record(index: IndexRecord) -> dict[str, Any]:
    """Return an index; ``translator`` and ``execution`` are null for one of native vectors."""
    return {
        "id": index.id,
        "space": index.space,
        "kind": index.kind,
        "translator": index.translator_id,
        "execution": index.execution,
        "parameters": dict(index.parameters),
        "rows": index.rows,
        "bytes": index.file.size,
        "report": dict(index.report) or None,
    }


def built_sentence(record: Mapping[str, Any]) -> str:
    """Return that an index was built, and what tuning measured of it."""
    built = (
        f"built {record['kind']} index {record['id']} over {record['rows']:,} vectors of space "
        f"{record['space']}"
    )
    return "\n".join([built, *filter(None, [index_summary(record)])])


def index_summary(record: Mapping[str, Any]) -> str:
    """Return what tuning measured of an index, in a line; empty for one built as it is."""
    report = record["report"]
    if not report:
        return ""
    recall, speedup = report["recall"], report["speedup"]
    missed = "" if report["reached"] else f", below the target of {report['target']:g}"
    return (
        f"recall@{report['k']} {recall['mean']:.3f} [{recall['low']:.3f}, {recall['high']:.3f}]"
        f"{missed}, on {report['queries']:,} queries ({report['origin']}); "
        f"{speedup['single']:.1f}x as fast as exact search, {speedup['batch']:.1f}x in batches"
    )


def version_record(version: VersionRecord) -> dict[str, Any]:
    """Return one entry of the history."""
    return {
        "version": version.version,
        "committed_at": version.committed_at,
        "operation": version.operation,
        "rows": version.rows,
        "expired": version.expired,
    }


def segment_record(status: SegmentStatus) -> dict[str, Any]:
    """Return the files of one kind; ``space`` is null for those of the items."""
    return {
        "kind": status.kind,
        "space": status.space,
        "files": status.files,
        "small_files": status.small_files,
        "delete_files": status.delete_files,
        "rows": status.rows,
        "dead": status.dead,
        "dead_share": status.dead_share,
        "bytes": status.bytes,
    }


def compaction_record(report: CompactionReport) -> dict[str, Any]:
    """Return what a compaction did."""
    return {
        "version": report.version,
        "files_before": report.files_before,
        "files_after": report.files_after,
        "bytes_before": report.bytes_before,
        "bytes_after": report.bytes_after,
        "dropped": report.dropped,
        "dry_run": report.dry_run,
    }


def expiry_record(report: ExpiryReport, *, dry_run: bool) -> dict[str, Any]:
    """Return which versions expired."""
    return {
        "first_version": report.first_version,
        "version": report.version,
        "expired": report.expired,
        "dry_run": dry_run,
    }


def garbage_record(report: GarbageReport, *, dry_run: bool) -> dict[str, Any]:
    """Return what was deleted."""
    return {
        "files": report.files,
        "bytes": report.bytes,
        "kinds": dict(report.kinds),
        "dry_run": dry_run,
    }


def backup_record(report: BackupReport) -> dict[str, Any]:
    """Return what a backup consists of, and what had to be copied for it."""
    return {
        "collections": dict(report.collections),
        "files": report.files,
        "bytes": report.bytes,
        "copied_files": report.copied_files,
        "copied_bytes": report.copied_bytes,
        "removed_files": report.removed_files,
        "indexes_left_out": list(report.indexes_left_out),
    }


def restore_record(report: RestoreReport) -> dict[str, Any]:
    """Return what was restored."""
    return {
        "collections": dict(report.collections),
        "made_at": report.made_at,
        "files": report.files,
        "bytes": report.bytes,
        "indexes_left_out": list(report.indexes_left_out),
    }


def item_record(item: Item, *, vectors: bool) -> dict[str, Any]:
    """Return an item; ``vectors`` by space only if they were asked for."""
    record = {"id": item.id, "document": item.document, "metadata": item.metadata}
    return {**record, "vectors": item.vectors} if vectors else record


def hit_record(hit: Hit) -> dict[str, Any]:
    """Return a hit; hits come best first."""
    return {
        "id": hit.id,
        "score": hit.score,
        "distance": hit.distance,
        "provenance": hit.provenance.kind,
        "space": hit.provenance.space,
        "translators": hit.provenance.translators,
        "document": hit.document,
        "metadata": hit.metadata,
    }


def _size(translator: TranslatorRecord) -> int:
    files: Iterable[Any] = translator.files.values()
    return sum(file.size for file in files)
