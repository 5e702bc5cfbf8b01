"""`vecstore space`: the embedding spaces of a collection."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any, get_args

import click

from vecstore import EncodingProfile, Store
from vecstore.spaces import Metric, VectorType
from vecstore_cli.options import (
    at_option,
    collection_of,
    collection_option,
    confirm,
    examples,
    json_option,
    opens_store,
    version_of,
    yes_option,
)
from vecstore_cli.output import show_one, show_rows
from vecstore_cli.records import space_record
from vecstore_ingest import encoder_schemes, open_encoder

__all__ = ["space"]

_ENCODER = (
    f"What embeds texts for it, remembered with it: {', '.join(encoder_schemes())}. Model, "
    "revision, prompts and --max-tokens go to it."
)


@click.group()
def space() -> None:
    """Create, list and drop embedding spaces."""


@space.command(
    epilog=examples(
        "vecstore space create shop.vecstore v3 --dim 384 --model all-MiniLM-L6-v2 --supersedes v2",
        "vecstore space create shop.vecstore v4 --encoder 'vectors:items.parquet?model=old-model'",
    )
)
@opens_store()
@click.argument("name")
@collection_option
@click.option("--encoder", metavar="SCHEME:NAME", help=_ENCODER)
@click.option("--dim", type=int, help="Number of components of a vector.")
@click.option("--metric", type=click.Choice(get_args(Metric)), default="cosine", show_default=True)
@click.option("--model", help="The embedding model; part of the space's fingerprint.")
@click.option("--revision", help="Revision of the model.")
@click.option(
    "--dtype", type=click.Choice(get_args(VectorType)), default="float32", show_default=True,
    help="How components are stored.",
)  # fmt: skip
@click.option("--supersedes", metavar="SPACE", help="The space whose next generation this is.")
@click.option("--document-prompt", help="Put before a document when it is embedded.")
@click.option("--query-prompt", help="Put before a query when it is embedded.")
@click.option("--pooling", help="How the model pools its tokens.")
@click.option("--max-tokens", type=int, help="Where the model cuts texts off.")
@json_option
def create(
    store: Store,
    name: str,
    collection: str | None,
    encoder: str | None,
    model: str | None,
    revision: str | None,
    document_prompt: str | None,
    query_prompt: str | None,
    pooling: str | None,
    max_tokens: int | None,
    as_json: bool,
    **definition: Any,
) -> None:
    """Create a space: the output of one embedding model.

    With --encoder the model describes itself, and texts can be searched and ingested.
    """
    if encoder is None and definition["dim"] is None:
        raise click.UsageError("say what the space holds: --dim, or the --encoder that makes it")
    handle = collection_of(store, collection)
    profile: dict[str, Any] = {
        "document_prompt": document_prompt,
        "query_prompt": query_prompt,
        "pooling": pooling,
        "max_tokens": max_tokens,
    }
    given = {option: value for option, value in profile.items() if value is not None}
    names = {"model": model, "revision": revision}
    with ExitStack() as stack:
        if encoder is None:
            definition |= {"profile": EncodingProfile(**given), **names}
        else:
            given |= {option: value for option, value in names.items() if value is not None}
            opened = definition["encoder"] = open_encoder(encoder, **given)
            if hasattr(opened, "close"):
                stack.callback(opened.close)
        made = handle.create_space(name, **definition)
    record = space_record(handle.spaces[name])
    show_one(record, f"created space {name}: {made.describe()}", as_json=as_json)


@space.command("list", epilog=examples("vecstore space list shop.vecstore"))
@opens_store()
@collection_option
@at_option
@json_option
def list_(store: Store, collection: str | None, at: int | None, as_json: bool) -> None:
    """List the spaces, oldest first, with their coverage."""
    show_rows(
        [space_record(status) for status in version_of(store, collection, at).spaces.values()],
        ["name", "generation", "dim", "metric", "model", "native", "coverage"],
        as_json=as_json,
    )


@space.command(epilog=examples("vecstore space drop shop.vecstore v2 --yes"))
@opens_store()
@click.argument("name")
@collection_option
@yes_option
@json_option
def drop(store: Store, name: str, collection: str | None, yes: bool, as_json: bool) -> None:
    """Drop a space with its vectors and translators. Older versions still have them."""
    handle = collection_of(store, collection)
    latest = handle.latest()
    latest.snapshot.space(name)  # raises before anybody is asked about a space that is not there
    native = latest.spaces[name].native
    confirm(f"Drop space {name!r} of {handle.name!r} with {native:,} vectors?", yes=yes)
    handle.drop_space(name)
    record = {"name": name, "vectors": native, "version": handle.version}
    show_one(record, f"dropped space {name} with {native:,} vectors", as_json=as_json)
