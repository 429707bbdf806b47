"""Where photos were taken: what an index finds for their descriptors, what that agrees about, and how sure that is."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from keras_sare.localization.answering import learned
from keras_sare.localization.answering.answers import Answers
from keras_sare.localization.answering.place_search import PlaceSearch
from keras_sare.localization.answering.sureness import Sureness
from keras_sare.localization.calibration import Calibration
from keras_sare.localization.candidates import Candidates
from keras_sare.localization.place_index import PlaceIndex
from keras_sare.localization.priors.prior import Prior
from keras_sare.localization.reranking.reranked import Reranked, Reranker
from keras_sare.localization.sequences.hidden_markov import track_places
from keras_sare.localization.sequences.motion import Motion
from keras_sare.localization.sequences.walk_features import walk_features
from keras_sare.utils.arguments import plain_arguments


class DescriptorLocalizer:
    """Answers where photos were taken, from their descriptors.

    Args:
        index: of the map.
        k: candidates of each photo. Its answer is made of them; where the index is calibrated, of as many as the
            calibration saw, whatever `k`, for of others its probability would mean nothing.
        precision: share of the answers that should be right among those that are `known`, as far as the photos of the
            calibration can say; answers that are less sure say "don't know". Without a calibration it has no effect.
        radius: metres within which candidates agree.
        reranker: compares candidates with photos whose answer is not `known` otherwise; without a calibration with all.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        index: PlaceIndex,
        k: int = 20,
        precision: float = 0.9,
        radius: float = 25.0,
        reranker: Reranker | None = None,
    ) -> None:
        if k < 1:
            raise ValueError(f"`k` must be positive. Received: k={k}")
        for calibration in index.record.calibrations.values():
            calibration.threshold(precision)  # Whoever gives a wrong one shall not learn of it at the first photo.
        self.index = index
        self._k = k
        self._precision = precision
        self._reranker = reranker
        self._search = PlaceSearch(index, radius)

    @plain_arguments
    def locate(
        self, descriptors: np.ndarray, prior: Prior | None = None, photos: Sequence[np.ndarray] | None = None
    ) -> Answers:
        """Locates photos.

        Args:
            descriptors: [Q, dim] of norm 1, of the index's model.
            prior: what is known of them already. Answers near a rough position have a calibration of their own
                (`calibrate_near`); a time of day has none.
            photos: Q, the photos themselves for the re-ranker, each [height, width, 3], RGB in 0..255; a sequence that
                reads one when it is asked for keeps the others out of memory. None re-ranks nothing.

        Returns:
            An answer for each photo. See `Answers` for those that have no probability, as re-ranked ones where the
            index has no calibration of such.

        Raises:
            ValueError: shapes do not agree, or a value is out of range.
        """
        prior = prior or Prior()
        considered = self.index.record.considered(self._k)
        candidates = self._search.candidates(descriptors, prior, max(considered, self._k))
        estimates = self._search.estimates(candidates.first(considered), prior)
        there = estimates.best >= 0
        roughly = prior.has_position(len(there))
        free = ~roughly & (prior.minutes is None)
        sure = self._sureness("photos" if prior.minutes is None else "", estimates.features, there)
        if roughly.any() and prior.minutes is None:
            sure = self._sureness("near", estimates.features, there).where(roughly, sure)
        positions = self._search.as_indexed(estimates.positions)
        answers = _answers(candidates.first(self._k), positions, sure, estimates.scores)
        if self._reranker is None or photos is None:
            return answers
        unsure = there & ~sure.known if self.index.record.calibrations else there
        return self._reranked(answers, unsure, free, self._reranker.rerank(candidates, photos, unsure))

    @plain_arguments
    def locate_sequence(
        self, descriptors: np.ndarray, prior: Prior | None = None, motion: Motion | None = None
    ) -> Answers:
        """Locates the photos of one walk or drive together, each with the help of those before and after it.

        The walk may go any way through the map. A photo without candidates, or whose candidates do not fit, is put
        between those before and after it. Cuts, and photos out of order, cost certainty where the way is longer than
        `Motion.speed` allows; of two walks whose photos are mixed one is found. A single photo is put around its best
        candidate.

        Args:
            descriptors: [F, dim] of norm 1 in the order of the walk.
            prior: what is known of the photos already; no calibration is of walks for which something is.
            motion: how far it is from one to the next.

        Returns:
            An answer for each photo; `Answers.surest` is the one for the walk. See `calibrate_walks` for their
            probability.

        Raises:
            ValueError: shapes do not agree, or a value is out of range.
        """
        prior = prior or Prior()
        candidates = self._search.candidates(descriptors, prior, max(self.index.record.considered(self._k), self._k))
        considered = candidates.first(self.index.record.considered(self._k))
        scores = self._search.scores(considered, prior)
        places = self._search.in_metres(considered.positions)
        track = track_places(scores, places, motion, self._search.radius)
        positions = self._search.as_indexed(track.positions)
        features = walk_features(track, scores, places, self._search.radius)
        free = prior.minutes is None and not prior.has_position(len(positions)).any()
        sure = self._sureness("walks" if free else "", features, np.isfinite(track.probability))
        there = np.isfinite(considered.scores)
        chosen = np.where(track.path >= 0, track.path, np.maximum(there.sum(axis=1) - 1, 0))
        similarity = considered.scores[np.arange(len(chosen)), chosen]
        answers = _answers(candidates.first(self._k), positions, sure, similarity)
        return replace(answers, posterior=track.probability)

    @plain_arguments
    def calibrate(
        self,
        descriptors: np.ndarray,
        positions: np.ndarray,
        radius: float = 25.0,
        photos: Sequence[np.ndarray] | None = None,
    ) -> Calibration:
        """Learns from photos whose position is known how sure answers are. They must not be in the index themselves.

        Args:
            descriptors: [n, dim] of norm 1, array or memory map.
            positions: [n, 2], as the index has them.
            radius: metres within which an answer is right.
            photos: as for `locate`: the calibration is then one of re-ranked answers. All of them are re-ranked.

        Raises:
            ValueError: see `Calibration.fit`.
        """
        known = (self._search, descriptors, positions, radius, self._k)
        if self._reranker is None or photos is None:
            return learned.of_photos(*known)
        return learned.of_reranked(*known, self._reranker, photos)

    @plain_arguments
    def calibrate_near(self, descriptors: np.ndarray, positions: np.ndarray, radius: float = 25.0) -> Calibration:
        """Learns how sure answers are where a rough position is known (`Prior.near`).

        Rough positions are simulated: where each photo was taken with a normal error, whose two standard deviations are
        the metres within which it is looked for, 50 to 3000 m in turn.

        Args:
            descriptors: as for `calibrate`.
            positions: likewise.
            radius: likewise.

        Raises:
            ValueError: see `Calibration.fit`.
        """
        return learned.of_near(self._search, descriptors, positions, radius, self._k)

    @plain_arguments
    def calibrate_walks(
        self,
        descriptors: np.ndarray,
        positions: np.ndarray,
        walks: Sequence[np.ndarray],
        motion: Motion | None = None,
        radius: float = 25.0,
    ) -> Calibration:
        """Learns how sure answers to the photos of walks are (`locate_sequence`).

        Args:
            descriptors: as for `calibrate`.
            positions: likewise.
            walks: of each walk the numbers of its photos in their order, int64 [F]; ten walks at least.
            motion: how far it is from one photo to the next.
            radius: metres within which an answer is right.

        Raises:
            ValueError: there are too few walks, or see `Calibration.fit`.
        """
        return learned.of_walks(self._search, descriptors, positions, radius, self._k, walks, motion)

    @plain_arguments
    def errors(self, positions: np.ndarray, truth: np.ndarray) -> np.ndarray:
        """Metres between positions [Q, 2] and true ones [Q, 2], both as the index has them; NaN where one is."""
        return self._search.errors(positions, truth)

    def _sureness(self, of: str, features: np.ndarray, there: np.ndarray) -> Sureness:
        return Sureness.of_answers(self.index.record, of, features, there, self._precision)

    def _reranked(self, answers: Answers, unsure: np.ndarray, free: np.ndarray, reranked: Reranked) -> Answers:
        """Answers with those that are `unsure` as re-ranking has them; only `free` of a prior they are calibrated."""
        first = reranked.first(self.index.record.considered(self._k))
        estimates, features = self._search.reranked_estimates(first)
        similarity = np.take_along_axis(first.candidates.scores, np.maximum(estimates.best, 0)[:, None], axis=1)
        # A photo that could not be compared keeps the answer that it had.
        changed = unsure & (first.inliers >= 0).any(axis=1)
        before = Sureness(answers.probability, answers.uncertainty, answers.known)
        sure = self._sureness("reranked", features, changed & free).where(changed & free, before)
        sure = self._sureness("", features, changed & ~free).where(changed & ~free, sure)
        shown = reranked.first(self._k)
        return replace(
            _answers(
                shown.candidates,
                np.where(changed[:, None], self._search.as_indexed(estimates.positions), answers.positions),
                sure,
                np.where(changed, similarity[:, 0], answers.similarity),
            ),
            inliers=shown.inliers,
        )


def _answers(candidates: Candidates, positions: np.ndarray, sure: Sureness, similarity: np.ndarray) -> Answers:
    return Answers(candidates, positions, sure.probability, sure.uncertainty, sure.known, similarity)
