"""What is said of single photos, in plain values: the same in Python, in JSON and through gRPC."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_sare.localization.answering.answers import Answers
from keras_sare.localization.localizer import DescriptorLocalizer
from keras_sare.localization.priors.prior import Prior
from keras_sare.localization.reranking.reranked import evidence
from keras_sare.localization.sequences.motion import Motion

if TYPE_CHECKING:
    from keras_sare.localization.reranking.lazy_photos import LazyPhotos

Position = Mapping[str, float]
"""`latitude` and `longitude` in degrees, or `easting` and `northing` in metres, as the map has them."""


@dataclass(frozen=True)
class PhotoCandidate:
    """A photo of a map that is similar.

    Attributes:
        map: name of the map.
        name: of the photo in it.
        row: its place among the candidates, from 0.
        score: cosine similarity.
        distance: metres from the estimated position; None where its map has another kind of positions.
        position: where it was taken.
        heading: degrees clockwise from north; None where that is not known.
        timestamp: when it was taken; None where that is not known.
    """

    map: str
    name: str
    row: int
    score: float
    distance: float | None
    position: Position
    heading: float | None
    timestamp: str | None


@dataclass(frozen=True)
class PhotoAnswer:
    """Where a photo was taken.

    Attributes:
        known: whether the answer is sure enough; without any calibration, whether there is one. Answers of a kind that
            a calibrated map has no calibration for are not known; see `Answers`.
        position: the estimate; None where there was no candidate.
        uncertainty: metres within which nine of ten such answers are; None without a calibration of such answers.
        probability: that the position is within the calibration's radius; None without a calibration of such answers.
        map: that the position is of; None where there was no candidate.
        candidates: in falling order of similarity, for which points that they share with the photo count.
        error: why the photo could not be read; nothing else is said of it then. None where it could.
        surest: whether this is the surest answer of a walk, the one for the walk as a whole; None of a single photo.
    """

    known: bool = False
    position: Position | None = None
    uncertainty: float | None = None
    probability: float | None = None
    map: str | None = None
    candidates: tuple[PhotoCandidate, ...] = ()
    error: str | None = None
    surest: bool | None = None

    def to_json(self) -> dict[str, Any]:
        """As JSON has it; of a photo that could not be read the error alone."""
        return asdict(self) if self.error is None else {"error": self.error}


def photo_answers(
    maps: Mapping[str, DescriptorLocalizer],
    descriptors: np.ndarray,
    errors: Sequence[str],
    prior: Prior | None = None,
    walk: Motion | None = None,
    photos: "LazyPhotos | None" = None,
) -> list[PhotoAnswer]:
    """Locates photos on several maps.

    Of the maps' answers that of a calibrated map counts that is known, and of several, or without any, the most
    similar; of a walk the answers of one map, along whose way photos are most similar. The candidates are the most
    similar photos of all maps. Points that were found to be shared count as similarity, see `Reranked.evidence`.

    Args:
        maps: name of each map to what locates on it.
        descriptors: [Q, dim] of norm 1, of the maps' model.
        errors: of each photo why it could not be read, empty where it could; its descriptor does not count then.
        prior: what is known of the photos already. `near` has one position, or one for each photo.
        walk: how far it is from one photo to the next, where all are of one walk in this order; see
            `DescriptorLocalizer.locate_sequence`. None: each stands alone.
        photos: Q, the photos themselves, for maps that re-rank; those of a walk are not re-ranked.

    Raises:
        ValueError: see `DescriptorLocalizer.locate`.
    """
    prior = prior or Prior()
    prior.check_photos(len(errors))
    readable = [index for index, error in enumerate(errors) if not error]
    answers = [PhotoAnswer(error=error) for error in errors]
    if readable:
        known = prior.of(readable)
        rows = descriptors[readable]
        found = {
            name: one.locate(rows, known, photos and photos.of(readable))
            if walk is None
            else one.locate_sequence(rows, known, walk)
            for name, one in maps.items()
        }
        for index, answer in zip(readable, answers_of_maps(maps, found, walk is not None), strict=True):
            answers[index] = answer
    return answers


def answers_of_maps(
    maps: Mapping[str, DescriptorLocalizer], found: Mapping[str, Answers], walk: bool = False
) -> Iterator[PhotoAnswer]:
    """What the maps' answers to the same photos come to; see `photo_answers`.

    Args:
        maps: name of each map to what has located on it.
        found: name of each map to its answers.
        walk: whether the photos are of one walk.
    """
    way = max(found, key=lambda name: _mean_similarity(found[name])) if walk else None
    surest = None if way is None else found[way].surest
    for row in range(len(next(iter(found.values())))):
        best = way or max(found, key=lambda name: _sureness(found[name], row))
        answer = _answer(maps, found, best, row)
        yield answer if surest is None else replace(answer, surest=row == surest)


def _answer(maps: Mapping[str, DescriptorLocalizer], found: Mapping[str, Answers], best: str, row: int) -> PhotoAnswer:
    answers = found[best]
    localizer = maps[best]
    estimate = answers.positions[row]
    if not np.isfinite(estimate).all():
        return PhotoAnswer()
    most = max(one.candidates.names.shape[1] for one in found.values())
    candidates = [
        (_evidence(one, row)[candidate.row], candidate)
        for name, one in found.items()
        for candidate in _candidates(name, maps[name], one, row, _same_kind(maps[name], localizer, estimate))
    ]
    candidates.sort(key=lambda candidate: -candidate[0])
    return PhotoAnswer(
        known=bool(answers.known[row]),
        position=_position(localizer, estimate),
        uncertainty=_plain(answers.uncertainty[row]),
        probability=_plain(answers.probability[row]),
        map=best,
        candidates=tuple(replace(one, row=place) for place, (_, one) in enumerate(candidates[:most])),
    )


def _sureness(answers: Answers, row: int) -> tuple[bool, float]:
    """A map without a calibration is never sure, for it knows all photos.

    Similarities of one model can be compared between maps; the probability is that of a map's own calibration.
    """
    is_sure = answers.known[row] and np.isfinite(answers.probability[row])
    return bool(is_sure), float(np.nan_to_num(_evidence(answers, row), nan=-2).max())


def _evidence(answers: Answers, row: int) -> np.ndarray:
    return evidence(answers.candidates.scores[row], None if answers.inliers is None else answers.inliers[row])


def _mean_similarity(answers: Answers) -> float:
    return float(np.nan_to_num(answers.similarity, nan=-1.0).mean())


def _same_kind(of: DescriptorLocalizer, other: DescriptorLocalizer, estimate: np.ndarray) -> np.ndarray | None:
    return estimate if of.index.record.kind == other.index.record.kind else None


def _candidates(
    name: str, localizer: DescriptorLocalizer, answers: Answers, row: int, estimate: np.ndarray | None
) -> Iterator[PhotoCandidate]:
    found = answers.candidates
    distances = np.full(len(found.names[row]), np.nan)
    if estimate is not None:
        distances = localizer.errors(found.positions[row], estimate[None])
    for place, photo in enumerate(found.names[row].tolist()):
        if photo:
            yield PhotoCandidate(
                map=name,
                name=photo,
                row=place,
                score=float(found.scores[row, place]),
                distance=_plain(distances[place]),
                position=_position(localizer, found.positions[row, place]),
                heading=_plain(found.headings[row, place]),
                timestamp=found.timestamps[row, place] or None,
            )


def _position(localizer: DescriptorLocalizer, position: np.ndarray) -> Position:
    return dict(zip(localizer.index.record.axes, position.tolist(), strict=True))


def _plain(value: np.floating[Any]) -> float | None:
    """NaN is no JSON."""
    return float(value) if np.isfinite(value) else None
