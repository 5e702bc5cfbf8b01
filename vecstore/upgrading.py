"""Upgrading: what joins a collection's generations and moves it from one to the next."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vecstore import definitions
from vecstore.arguments import DEFAULT_DEPTHS, MAX_PAIRS
from vecstore.encoding import Encoder
from vecstore.filters import Where
from vecstore.writing import Writable

if TYPE_CHECKING:
    from vecstore.fitting import Side, TranslatorReport
    from vecstore.upgrade.assessment import UpgradeAssessment
    from vecstore.upgrade.questions import Judgements, Queries
    from vecstore.upgrade.words import LexicalTuning
    from vecstore_translators import TranslatorFamily

__all__ = ["Upgradable"]


class Upgradable(Writable):
    """What can be done about the generations of a collection."""

    def fit_translator(
        self,
        *,
        source: str,
        target: str,
        side: Side = "documents",
        family: str | TranslatorFamily | Sequence[str | TranslatorFamily] | None = None,
        queries: NDArray[np.float32] | None = None,
        max_pairs: int = MAX_PAIRS,
        seed: int = 0,
    ) -> TranslatorReport:
        """Fit a translator on the items that have vectors in both spaces, and store it.

        Parameters
        ----------
        source, target : str
            The direction of the map.
        side : {"documents", "queries"}
            "documents": a forward map of old documents (source) into the new space (target).
            "queries": a map of new queries (source) into the old space (target).
        family : str, TranslatorFamily or sequence of them, optional
            What to choose from by held-out retrieval; by default every registered family.
        queries : ndarray of shape (n, dim), optional
            Real query vectors by the new model; without them held-out documents ask.
        max_pairs : int
            A seeded sample is used where there are more pairs.

        Raises
        ------
        InvalidArgumentError
            Fewer than 20 items have vectors in both spaces.
        """
        from vecstore.fitting import fit_pairs, store_fit  # here and below: a search fits nothing

        fit = fit_pairs(
            self.latest().snapshot,
            source=source,
            target=target,
            side=side,
            families=family,
            queries=queries,
            max_pairs=max_pairs,
            seed=seed,
        )
        record = store_fit(fit, self._root, self._record.directory)
        self._commit(definitions.add_translator(record, fit.spaces))
        return fit.report(record.id)

    def drop_translator(self, translator_id: str) -> None:
        """Forget a translator; searches stop using it with this commit."""
        self._commit(definitions.remove_translator(translator_id))

    def tune_lexical(
        self,
        *,
        queries: Queries,
        qrels: Judgements,
        space: str | None = None,
        k: int = 10,
        where: Where | None = None,
        seed: int = 0,
    ) -> LexicalTuning:
        """Choose on judged queries how much words count beside vectors, and keep it.

        Searches with ``text=`` that rank in the space use the weight from then on, unless they
        bring their own. It fits the collection as it is now: as coverage grows, native vectors
        deserve a little less of it, so choose again from time to time.

        Parameters
        ----------
        queries : sequence of str, or dict of space name to vectors
            Texts, embedded by the encoder of the space; or vectors of shape (n, dim) under the
            space's name, with their texts under "text".
        qrels : sequence
            For each query the id of the item that answers it, several ids, or a dict of ids
            to gains.
        space : str, optional
            The ranking space, by default as a search has it.
        k : int
            The weight is judged by nDCG@k.
        where : str or dict, optional
            Search only the items for which this filter is true.

        Returns
        -------
        LexicalTuning
            The weight, and the nDCG of every weight that was compared.

        Raises
        ------
        InvalidArgumentError
            Fewer than 20 judged queries with texts have a live answer.
        NoRouteError
            No translator joins some generation to the space.
        UnpairedRowsError
            Queries, texts and judgements differ in number.
        """
        from vecstore.search.request import checked_count, ranking_space
        from vecstore.upgrade.questions import asked_questions
        from vecstore.upgrade.words import keep_weight, tuned_weight

        version = self._settled()
        snapshot = version.snapshot
        target = ranking_space(snapshot, space, None)
        record = snapshot.space(target)
        questions = asked_questions(
            snapshot, queries, qrels, source=record, target=record, encoder_of=self._encoders.of
        )
        tuning = tuned_weight(
            version,
            target,
            questions,
            k=checked_count(k, None),
            allowed=None if where is None else snapshot.matching(where),
            seed=seed,
        )
        self._commit(keep_weight(target, tuning.weight))
        return tuning

    def assess_upgrade(
        self,
        *,
        source: str,
        target: str,
        queries: Queries | None = None,
        qrels: Judgements | None = None,
        k: int = 10,
        depths: Sequence[int] = DEFAULT_DEPTHS,
        sample: int | None = None,
        budget: float = 1.0,
        price: float | None = None,
        encoder: Encoder | None = None,
        family: str | TranslatorFamily | Sequence[str | TranslatorFamily] | None = None,
        where: Where | None = None,
        commit: bool = True,
        seed: int = 0,
        progress: Callable[[str], None] | None = None,
    ) -> UpgradeAssessment:
        """Measure what an upgrade from one space to another would bring, and recommend one way.

        Documents are sampled: what answers the queries, what competes with the answers, and
        random ones. Those that lack a vector are embedded where their space has an encoder;
        otherwise the pairs that are there are ranked. Then every way to live with two models
        is measured on the same queries, with its cost: keep the old model, swap naively,
        translate queries or documents, cascade, re-embed everything; with words, too, where
        the queries are judged and their texts known.

        Parameters
        ----------
        source, target : str
            The old space and the new one.
        queries : sequence of str, or dict of space name to vectors, optional
            Texts, embedded by the encoders of the spaces; or vectors of shape (n, dim) by
            space, with the texts under "text" where they are known. Without the old space's
            vectors, keeping the old model cannot be measured. Without queries, sampled
            documents ask.
        qrels : sequence, optional
            For each query the id of the item that answers it, several ids, or a dict of ids
            to gains. The metric is then nDCG@k; otherwise it is overlap@k with the new model's
            own answer, which cannot say whether the new model is the better one.
        k : int
        depths : sequence of int
            Shortlists of the cascades.
        sample : int, optional
            Documents that are ranked, and so the most that are embedded; 0 embeds nothing. By
            default 2,000, but a fifth of the items if they are fewer than 10,000, and at least
            200.
        budget : float
            Share of the items that the recommended option may embed before its first query,
            0.0 to 1.0.
        price : float, optional
            Of embedding a million tokens, in any unit.
        encoder : Encoder, optional
            Of the target space; by default that of :meth:`use_encoder`, or of its address.
        family : str, TranslatorFamily or sequence of them, optional
            What the forward map is chosen from; by default every family of the registry.
        where : str or dict, optional
            Assess as if only the items for which this filter is true were searched.
        commit : bool
            Keep what is embedded as coverage; it was paid for. Each batch is committed when it
            is made, so that nothing of it is lost if a later one fails.
        progress : callable, optional
            Told in words what is being done.

        Returns
        -------
        UpgradeAssessment
            Options in the order of their costs, and one recommendation with its reason; print
            it, or write it as a page with :func:`vecstore.upgrade.report.write_report`.

        Raises
        ------
        InvalidArgumentError
            Fewer than 20 documents have vectors in both spaces and nothing can make more; no
            judged query has an answer that could be ranked; an argument is out of its range.
        NotFoundError
            There is no such space.
        SpaceMismatchError
            The encoder is not that of the target space.
        UnpairedRowsError
            Queries, texts and judgements differ in number.
        """
        from vecstore.upgrade.assess import assess
        from vecstore.upgrade.request import requested

        version = self._settled()
        keep = self._keep if commit else None
        request = requested(
            version,
            source=source,
            target=target,
            queries=queries,
            qrels=qrels,
            k=k,
            depths=depths,
            sample=sample,
            budget=budget,
            price=price,
            encoder=encoder,
            family=family,
            where=where,
            seed=seed,
            keep=keep,
        )
        return assess(
            version,
            request.plan,
            request.questions,
            request.old,
            request.new,
            keep=keep,
            versions=self._catalog.versions(self._record.id),
            progress=progress or (lambda _what: None),
        )
