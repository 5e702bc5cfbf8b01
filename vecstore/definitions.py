"""Commits that define things: spaces and translators come and go; rows stay as they are."""

from __future__ import annotations

import uuid
from collections.abc import Callable

from vecstore.catalog import Changes, SpaceRecord, TranslatorRecord
from vecstore.encoding import Encoder, require_encoder
from vecstore.errors import AlreadyExistsError, InvalidArgumentError, NotFoundError
from vecstore.names import slug
from vecstore.snapshot import Snapshot
from vecstore.spaces import EncodingProfile, Metric, Space, VectorType
from vecstore.upgrade.defaults import require_not_default

__all__ = ["add_space", "add_translator", "declared_space", "remove_space", "remove_translator"]

Build = Callable[[Snapshot], Changes]


def declared_space(
    name: str,
    *,
    encoder: Encoder | None,
    dim: int | None,
    metric: Metric,
    model: str | None,
    revision: str | None,
    dtype: VectorType,
    profile: EncodingProfile | None,
    supersedes: str | None,
) -> Space:
    """Return a space as its creator describes it, and as its encoder does where he does not.

    Raises
    ------
    SpaceMismatchError
        The two contradict each other.
    InvalidArgumentError
        Neither of them says what the dimension is.
    """
    if encoder is not None:
        dim = encoder.dim if dim is None else dim
        model = encoder.name if model is None else model
        revision = encoder.revision if revision is None else revision
        profile = encoder.profile if profile is None else profile
    if dim is None:
        raise InvalidArgumentError(
            f"space {name!r}: expected dim=, or the encoder= that it is made with; got neither"
        )
    space = Space(
        name=name,
        dim=dim,
        metric=metric,
        model=model,
        revision=revision,
        dtype=dtype,
        profile=profile or EncodingProfile(),
        supersedes=supersedes,
        encoder=getattr(encoder, "address", None),
    )
    if encoder is not None:
        require_encoder(encoder, space)
    return space


def add_space(space: Space) -> Build:
    """Create a space, one generation after the one it supersedes."""
    space_id = uuid.uuid4().hex

    def build(snapshot: Snapshot) -> Changes:
        every = {record.space.name: record for record in snapshot.state.spaces}
        if space.name in every:
            known = every[space.name].space
            raise AlreadyExistsError(
                f"collection {snapshot.state.collection.name!r} has a space {space.name!r} "
                f"already ({known.describe()}); choose another name"
            )
        older = 0
        if space.supersedes is not None:
            ancestor = every.get(space.supersedes) or snapshot.space(space.supersedes)
            older = ancestor.generation
        record = SpaceRecord(
            id=space_id,
            space=space,
            directory=f"{slug(space.name)}-{space_id[:8]}",
            generation=older + 1,
        )
        return Changes(operation=f"create space {space.name}", add_spaces=(record,))

    return build


def remove_space(name: str) -> Build:
    """Drop a space with its vectors and the translators that start or end in it."""

    def build(snapshot: Snapshot) -> Changes:
        record = snapshot.retired.get(name) or snapshot.space(name)
        require_not_default(snapshot, name, "dropped")
        state = snapshot.state
        return Changes(
            operation=f"drop space {name}",
            remove_spaces=(record.id,),
            remove_files=tuple(f.id for f in state.files if f.space_id == record.id),
            remove_translators=tuple(
                t.id for t in state.translators if name in (t.source, t.target)
            ),
        )

    return build


def add_translator(record: TranslatorRecord, spaces: tuple[Space, Space]) -> Build:
    """Store a fitted translator, if its spaces are still those it was fitted for."""

    def build(snapshot: Snapshot) -> Changes:
        for space in spaces:
            snapshot.space(space.name).space.require_same(space)
        operation = f"fit translator {record.source} -> {record.target}"
        return Changes(operation=operation, add_translators=(record,))

    return build


def remove_translator(translator_id: str) -> Build:
    """Forget a translator."""

    def build(snapshot: Snapshot) -> Changes:
        known = [t.id for t in snapshot.state.translators]
        if translator_id not in known:
            raise NotFoundError(
                f"collection {snapshot.state.collection.name!r} has no translator "
                f"{translator_id!r}; it has {', '.join(known) or 'none'}"
            )
        return Changes(operation="drop translator", remove_translators=(translator_id,))

    return build
