"""The commands of `vecstore upgrade` that move a collection from one generation to the next."""

from __future__ import annotations

from dataclasses import asdict

import click
from rich.filesize import decimal

from vecstore import Store
from vecstore_cli.options import (
    collection_of,
    collection_option,
    confirm,
    examples,
    json_option,
    opens_store,
    yes_option,
)
from vecstore_cli.output import plain, show_json, show_one, show_rows
from vecstore_cli.progress import working

__all__ = ["refit", "retire", "rollback", "status", "switch"]


@click.command(epilog=examples("vecstore upgrade status shop.vecstore"))
@opens_store()
@collection_option
@click.option(
    "--predict/--no-predict", default=True, show_default=True,
    help="Predict what translations are worth over the items they serve; takes some seconds.",
)  # fmt: skip
@json_option
def status(store: Store, collection: str | None, predict: bool, as_json: bool) -> None:
    """Show where the upgrade stands: coverage, routes, pending jobs, and what to do next."""
    with working() as busy:
        busy("looking")
        found = collection_of(store, collection).upgrade_status(predict=predict)
    if as_json:
        show_json(asdict(found))
    else:
        for line in str(found).splitlines():
            click.echo(plain(line))


@click.command(
    epilog=examples(
        "vecstore upgrade refit shop.vecstore",
        "vecstore upgrade refit shop.vecstore --target v2 --force --json",
    )
)
@opens_store()
@collection_option
@click.option("--target", metavar="SPACE", help="Only translators into this space.")
@click.option("--force", is_flag=True, help="Also where pairs have not doubled since the fit.")
@json_option
def refit(
    store: Store, collection: str | None, target: str | None, force: bool, as_json: bool
) -> None:
    """Fit translators again where coverage has grown enough to help.

    A new fit takes the old one's place only if it is no worse on pairs that neither has seen.
    """
    with working() as busy:
        busy("fitting")
        done = collection_of(store, collection).refit_translators(target=target, force=force)
    if as_json:
        show_rows([asdict(each) for each in done], [], as_json=True)
        return
    for each in done:
        click.echo(plain(str(each)))
    if not done:
        click.echo("nothing is due", err=True)


@click.command(epilog=examples("vecstore upgrade switch shop.vecstore v2"))
@opens_store()
@click.argument("space")
@collection_option
@json_option
def switch(store: Store, space: str, collection: str | None, as_json: bool) -> None:
    """Let searches that name no space rank in SPACE from now on. One commit."""
    done = collection_of(store, collection).switch_space(space)
    before = done.before or "no default space"
    show_one(asdict(done), f"searches rank in {done.after} now, before: {before}", as_json=as_json)


@click.command(epilog=examples("vecstore upgrade rollback shop.vecstore"))
@opens_store()
@collection_option
@json_option
def rollback(store: Store, collection: str | None, as_json: bool) -> None:
    """Bring back the default space that was in effect before the current one. One commit.

    Run again, it goes one further back.
    """
    done = collection_of(store, collection).rollback_space()
    after = done.after or "no default space"
    show_one(asdict(done), f"rolled back from {done.before} to {after}", as_json=as_json)


@click.command(epilog=examples("vecstore upgrade retire shop.vecstore v2 --yes"))
@opens_store()
@click.argument("space")
@collection_option
@click.option("--force", is_flag=True, help="Also if items would not be served any more.")
@yes_option
@json_option
def retire(
    store: Store, space: str, collection: str | None, force: bool, yes: bool, as_json: bool
) -> None:
    """Take SPACE out of use: no search ranks in it, and its vectors leave the collection.

    Refused while it is the default space, or has the only native vector of items. Older versions
    keep the vectors; compaction reclaims them when no version needs them.
    """
    handle = collection_of(store, collection)
    handle.latest().snapshot.space(space)
    native = handle.spaces[space].native
    confirm(f"Retire space {space!r} of {handle.name!r} with {native:,} vectors?", yes=yes)
    done = handle.retire_space(space, force=force)
    lost = f"; {done.unserved:,} items are not served any more" if done.unserved else ""
    show_one(
        asdict(done),
        f"retired space {space} with {done.vectors:,} vectors, {decimal(done.bytes)}{lost}",
        as_json=as_json,
    )
