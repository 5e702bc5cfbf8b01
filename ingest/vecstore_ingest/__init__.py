"""Files in and out: source formats, column mapping, resumable jobs, export, encoders.

Room: ingest. Knows vecstore and no command line; progress goes to a callback.
"""

from vecstore_ingest.encoders import (
    LookupEncoder,
    encoder_schemes,
    open_encoder,
    register_encoder,
)
from vecstore_ingest.export import ExportReport, export
from vecstore_ingest.formats import FORMATS
from vecstore_ingest.formats.reader import ROW_NUMBERS, Source
from vecstore_ingest.job import IngestProgress, IngestReport, ingest
from vecstore_ingest.mapping import ColumnMapping
from vecstore_ingest.queries import QueryFile, read_qrels, read_queries

__all__ = [
    "FORMATS",
    "ROW_NUMBERS",
    "ColumnMapping",
    "ExportReport",
    "IngestProgress",
    "IngestReport",
    "LookupEncoder",
    "QueryFile",
    "Source",
    "encoder_schemes",
    "export",
    "ingest",
    "open_encoder",
    "read_qrels",
    "read_queries",
    "register_encoder",
]
