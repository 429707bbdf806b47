"""Walks through streets that look alike, against all ways that there are and against single photos."""

import itertools
import shutil
from pathlib import Path

import numpy as np
import pytest

from keras_sare.localization import (
    Answers,
    DescriptorLocalizer,
    IndexRecord,
    Motion,
    PlaceIndex,
    PlaceRows,
    Prior,
    calibration_error,
    match_traversal,
    track_places,
)

RADIUS = 5.0
MOTION = Motion(speed=12.0, slack=4.0, jump=0.02, unseen=0.1, memory=1, temperature=0.1)


def weight_of(way: tuple[int, ...], scores: np.ndarray, positions: np.ndarray) -> float:
    """Of one choice of candidates, -1 for none, as the model defines it."""
    weight = 1.0
    last = None
    for photo, candidate in enumerate(way):
        there = np.isfinite(scores[photo])
        if candidate < 0:
            weight *= MOTION.unseen if there.any() else 1.0
            continue
        if not there[candidate]:
            return 0.0
        weight *= np.exp((scores[photo, candidate] - scores[photo][there].max()) / MOTION.temperature)
        if last is not None:
            elapsed = photo - last
            apart = np.linalg.norm(positions[photo, candidate] - positions[last, way[last]])
            step = np.exp(-0.5 * (max(apart - MOTION.speed * elapsed, 0) / MOTION.slack) ** 2)
            weight *= max(step, MOTION.jump) if elapsed <= MOTION.memory + 1 else MOTION.jump
        last = photo
    return weight


def place_of(way: tuple[int, ...], photo: int, positions: np.ndarray) -> np.ndarray:
    """Where a way is at a photo, as far as it remembers."""
    for before in range(photo, max(photo - MOTION.memory, 0) - 1, -1):
        if way[before] >= 0:
            return np.asarray(positions[before, way[before]])
    return np.full(2, np.nan)


@pytest.mark.parametrize("seed", range(6))
def test_the_way_and_its_probability_are_those_of_all_ways_there_are(seed: int) -> None:
    generator = np.random.default_rng(seed)
    scores = generator.uniform(0.3, 0.9, (5, 3))
    scores[seed % 5, seed % 3 :] = np.nan
    positions = generator.uniform(0, 60, (5, 3, 2))
    ways = [*itertools.product(range(-1, 3), repeat=5)]
    weights = np.array([weight_of(way, scores, positions) for way in ways])
    track = track_places(scores, positions, MOTION, RADIUS)
    assert tuple(track.path.tolist()) == ways[int(weights.argmax())]
    for photo in range(5):
        places = np.array([place_of(way, photo, positions) for way in ways])
        near = np.linalg.norm(places - track.positions[photo], axis=1) <= RADIUS
        np.testing.assert_allclose(track.probability[photo], weights[near].sum() / weights.sum(), atol=1e-9)
        if np.isfinite(track.uncertainty[photo]):
            within = np.linalg.norm(places - track.positions[photo], axis=1) <= track.uncertainty[photo] + 1e-9
            assert weights[within].sum() / weights.sum() >= 0.9 - 1e-9
    for photos in range(1, 6):  # What is known at a photo without those after it.
        shares = np.array([weight_of(way, scores, positions) for way in itertools.product(range(-1, 3), repeat=photos)])
        last = np.array([way[-1] for way in itertools.product(range(-1, 3), repeat=photos)])
        given = [shares[last == candidate].sum() for candidate in range(3)]
        assert track.latest[photos - 1] == (np.argmax(given) if max(given) > 0 else -1)


STEPS = 24
DIM = 64
LOOKS = np.random.default_rng(7).normal(size=(STEPS, DIM))


def street(number: int, steps: np.ndarray, noise: float, seed: int) -> np.ndarray:
    """Photos of one of three streets that look alike, but for every sixth step."""
    looks = LOOKS.copy()
    looks[::6] += np.random.default_rng(100 + number).normal(size=(len(looks[::6]), DIM))
    photos = looks[steps] + noise * np.random.default_rng(seed).normal(size=(len(steps), DIM))
    return np.asarray(photos / np.linalg.norm(photos, axis=1, keepdims=True))


def places(number: int, steps: np.ndarray) -> np.ndarray:
    return np.stack([10.0 * steps, np.full(len(steps), 500.0 * number)], axis=1)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> PlaceIndex:
    pytest.importorskip("lancedb")
    steps = np.arange(STEPS)
    rows = [PlaceRows([f"{n}/{i}" for i in steps], street(n, steps, 0.3, seed=n), places(n, steps)) for n in range(3)]
    folder = tmp_path_factory.mktemp("map") / "index"
    return PlaceIndex.create(folder, IndexRecord("m", "m", DIM), rows)


@pytest.mark.parametrize("way", ["along", "against", "twice as fast"])
def test_a_walk_is_found_where_single_photos_are_not(index: PlaceIndex, way: str) -> None:
    steps = {"along": np.arange(2, 22), "against": np.arange(22, 2, -1), "twice as fast": np.arange(0, STEPS, 2)}[way]
    for number in range(3):
        frames = street(number, steps, 0.4, seed=20 + number)
        localizer = DescriptorLocalizer(index, k=9)
        alone = localizer.errors(localizer.locate(frames).positions, places(number, steps)) <= 25
        answers = localizer.locate_sequence(frames, motion=Motion(speed=20.0))
        together = localizer.errors(answers.positions, places(number, steps)) <= 25
        assert alone.mean() < 0.75
        assert together.all()
        assert answers.known.mean() > 0.8
        assert together[answers.surest]


@pytest.mark.parametrize("slope", [1.0, -1.0, 2.0])
def test_straight_lines_find_a_walk_at_its_speed_and_direction(slope: float) -> None:
    """In one traversal through all three streets, of which single photos find the wrong one."""
    traversal = np.concatenate([street(number, np.arange(STEPS), 0.3, seed=number) for number in range(3)])
    steps = np.arange(0, STEPS - 1, slope).astype(int) if slope > 0 else np.arange(STEPS - 2, 0, slope).astype(int)
    walk = street(1, steps, 0.4, seed=30)
    similarities = walk @ traversal.T
    truth = STEPS + steps
    assert (np.abs(similarities.argmax(axis=1) - truth) <= 1).mean() < 0.75
    found = match_traversal(similarities)
    assert (np.abs(found.rows - truth) <= 1).all()
    assert (found.margins > 0).all()
    if slope < 0:
        one_way = match_traversal(similarities, both_ways=False)
        assert (np.abs(one_way.rows - truth) <= 1).mean() < 0.5


def test_photos_without_candidates_lie_between_the_others(index: PlaceIndex) -> None:
    steps = np.arange(4, 16)
    frames = street(0, steps, 0.2, seed=40)
    near = np.full((len(steps), 2), np.nan)
    near[[0, 5, 6, 11]] = -1e6
    answers = DescriptorLocalizer(index).locate_sequence(frames, Prior(near=near, within=10.0))
    assert np.isnan(answers.candidates.scores[[0, 5, 6, 11]]).all()
    errors = DescriptorLocalizer(index).errors(answers.positions, places(0, steps))
    assert (errors <= 25).all()
    nowhere = DescriptorLocalizer(index).locate_sequence(frames, Prior(near=np.array([-1e6, 0.0])))
    assert np.isnan(nowhere.positions).all()
    assert not nowhere.known.any()
    assert nowhere.surest == -1


def test_one_photo_is_located_as_alone_and_no_photo_is_no_answer(index: PlaceIndex) -> None:
    frames = street(2, np.arange(0, STEPS, 6), 0.2, seed=50)
    localizer = DescriptorLocalizer(index)
    for frame in frames:
        alone = localizer.locate(frame[None])
        np.testing.assert_allclose(localizer.locate_sequence(frame[None]).positions, alone.positions, atol=1e-6)
    assert len(localizer.locate_sequence(frames[:0])) == 0


def test_a_cut_and_photos_out_of_order_cost_certainty_and_no_answer(index: PlaceIndex) -> None:
    steps = np.concatenate([np.arange(5, 15), np.arange(4, 18)])
    numbers = np.where(np.arange(len(steps)) < 10, 0, 2)
    frames = np.concatenate([street(n, steps[numbers == n], 0.2, seed=60 + n) for n in (0, 2)])
    truth = np.concatenate([places(n, steps[numbers == n]) for n in (0, 2)])
    localizer = DescriptorLocalizer(index, k=9)
    cut = localizer.locate_sequence(frames)
    assert (localizer.errors(cut.positions, truth) <= 25).all()
    order = np.arange(10) ^ 1  # Each photo changes places with its neighbour.
    mixed = localizer.locate_sequence(frames[:10][order])
    assert (localizer.errors(mixed.positions, truth[:10][order]) <= 25).all()
    shuffled = localizer.locate_sequence(frames[:10][np.random.default_rng(1).permutation(10)])
    assert shuffled.posterior.mean() < localizer.locate_sequence(frames[:10]).posterior.mean()


def walks(seed: int) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """Descriptors and positions of the photos of 24 walks of 4 to 12 photos, and which are of each."""
    generator = np.random.default_rng(seed)
    frames = []
    truth = []
    for walk in range(24):
        steps = generator.integers(0, STEPS - 12) + np.arange(generator.integers(4, 13))
        number = int(generator.integers(3))
        frames.append(street(number, steps, generator.choice([0.4, 1.2, 2.0]), seed=seed + walk))
        truth.append(places(number, steps))
    ends = np.cumsum([len(one) for one in truth])
    return np.concatenate(frames), np.concatenate(truth), np.split(np.arange(ends[-1]), ends[:-1])


def test_a_walk_is_as_sure_as_walks_with_known_positions_say(index: PlaceIndex, tmp_path: Path) -> None:
    shutil.copytree(index.folder, tmp_path / "index")
    index = PlaceIndex(tmp_path / "index")
    localizer = DescriptorLocalizer(index, k=9)
    frames, truth, numbers = walks(200)
    index.calibrate(localizer.calibrate(frames, truth))
    asked, where, of_walks = walks(400)
    motion = Motion(speed=20.0)
    before = Answers.joined([localizer.locate_sequence(asked[rows], motion=motion) for rows in of_walks])
    right = localizer.errors(before.positions, where) <= 25
    # Nothing is said of walks by photos alone, and the model that takes photos as independent is too sure.
    assert np.isnan(before.probability).all()
    assert not before.known.any()
    too_sure = calibration_error(before.posterior, right)
    index.calibrate(localizer.calibrate_walks(frames, truth, numbers, motion))
    localizer = DescriptorLocalizer(PlaceIndex(index.folder), k=4, precision=0.8)
    after = Answers.joined([localizer.locate_sequence(asked[rows], motion=motion) for rows in of_walks])
    np.testing.assert_array_equal(after.positions, before.positions)
    np.testing.assert_array_equal(after.posterior, before.posterior)
    assert after.candidates.names.shape[1] == 4
    assert calibration_error(after.probability, right) < 0.1 < too_sure
    assert after.known.any()
    assert right[after.known].mean() > 0.75
    near = localizer.locate_sequence(asked[:5], Prior(near=where[:5], within=500.0))
    assert np.isnan(near.probability).all()
    with pytest.raises(ValueError, match="`walks` must be 10 at least"):
        localizer.calibrate_walks(frames, truth, numbers[:9])


def test_the_surest_photo_of_a_walk_is_found_without_a_calibration(index: PlaceIndex) -> None:
    steps = np.arange(2, 14)
    answers = DescriptorLocalizer(index, k=9).locate_sequence(street(1, steps, 1.0, seed=70))
    assert answers.known.all()
    assert answers.surest == int(answers.posterior.argmax())
    alone = DescriptorLocalizer(index, k=9).locate(street(1, steps, 1.0, seed=70))
    assert alone.surest == int(alone.similarity.argmax())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"speed": 0}, "`speed` must be"),
        ({"slack": np.nan}, "`slack` must be"),
        ({"jump": 0}, "`jump` must be"),
        ({"unseen": 2}, "`unseen` must be"),
        ({"memory": -1}, "`memory` must be"),
    ],
)
def test_wrong_motions_are_refused(change: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Motion(**change)  # type: ignore[arg-type]


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="`scores` must be"):
        track_places(np.zeros((3, 2)), np.zeros((3, 1, 2)))
    with pytest.raises(ValueError, match="`radius` must be positive"):
        track_places(np.zeros((3, 2)), np.zeros((3, 2, 2)), radius=0)
    with pytest.raises(ValueError, match="`similarities` must be"):
        match_traversal(np.zeros(3))
    for wrong in ({"length": 0}, {"contrast": 1}, {"speeds": ()}, {"speeds": (0.0,)}):
        with pytest.raises(ValueError, match="`length` must be positive"):
            match_traversal(np.zeros((3, 4)), **wrong)  # type: ignore[arg-type]
