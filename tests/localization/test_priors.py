"""What is known beforehand: rough positions of each photo, the time of day."""

from pathlib import Path

import numpy as np
import pytest

from keras_sare.localization import DescriptorLocalizer, IndexRecord, PlaceIndex, PlaceRows, Prior

pytest.importorskip("lancedb")

DIM = 16
LOOKS = np.random.default_rng(0).normal(size=(12, DIM))
LOOKS /= np.linalg.norm(LOOKS, axis=1, keepdims=True)
POSITIONS = np.stack([1000.0 * np.arange(12), np.zeros(12)], axis=1)


def create(folder: Path, timestamps: list[str] | None = None) -> PlaceIndex:
    places = PlaceRows([str(row) for row in range(12)], LOOKS, POSITIONS, timestamps=timestamps)
    return PlaceIndex.create(folder, IndexRecord("m", "m", DIM), [places])


TIMES = {
    "2026-05-01T23:10:00": 1390,
    "20260501_2129": 1289,
    "2026-05-01 21:30:59": 1290,
    "2026:05:01 00:29:10": 29,
    "20260501003000": 30,
    "2026-05-01T12:00:00+02:00": 720,
    "2026-05-01": None,
    "2026-05": None,
    "1714560000123": None,
    "": None,
    "evening, 22:15": None,
    "2026-05-01T00:31": 31,
}


@pytest.mark.parametrize(
    ("clock", "hours"), [("23:00", 1.5), ("12:00", 0.01), ("0:30", 0.5), ("21:29", 3), ("6:00", 1)]
)
def test_candidates_were_taken_around_the_time_of_day_whichever_way_it_is_written(
    tmp_path: Path, clock: str, hours: float
) -> None:
    index = create(tmp_path / "index", timestamps=[*TIMES])
    answers = DescriptorLocalizer(index, k=12).locate(LOOKS[:2], Prior(time_of_day=clock, hours=hours))
    middle = 60 * int(clock.split(":")[0]) + int(clock.split(":")[1])
    around = round(60 * hours)
    wanted = {
        time for time, minute in TIMES.items() if minute is not None and (minute - middle + around) % 1440 <= 2 * around
    }
    for found in answers.candidates.timestamps:
        assert set(found[found != ""].tolist()) == wanted
    assert answers.known.all() == bool(wanted)


def test_all_day_is_no_restriction(tmp_path: Path) -> None:
    index = create(tmp_path / "index", timestamps=[*TIMES])
    answers = DescriptorLocalizer(index, k=12).locate(LOOKS, Prior(time_of_day="3:00", hours=12))
    assert np.isfinite(answers.candidates.scores).all()


def test_each_photo_may_have_a_rough_position_of_its_own(tmp_path: Path) -> None:
    index = create(tmp_path / "index")
    near = POSITIONS[[3, 4, 5]] + 20.0
    near[1] = np.nan
    answers = DescriptorLocalizer(index).locate(LOOKS[[7, 8, 9]], Prior(near=near, within=100.0))
    np.testing.assert_allclose(answers.positions, POSITIONS[[3, 8, 5]], atol=1e-6)
    with pytest.raises(ValueError, match=r"\[Q, 2\] for 2 photos"):
        DescriptorLocalizer(index).locate(LOOKS[:2], Prior(near=near))


@pytest.mark.parametrize("kind", ["metres", "degrees"])
def test_of_candidates_alike_the_one_nearer_to_the_rough_position_is_the_answer(tmp_path: Path, kind: str) -> None:
    """Two photos of one look 60 m apart; the second is a little more similar, but farther from the rough position."""
    metre = 1.0 if kind == "metres" else 1 / 111_200
    positions = np.array([[0.0, 0.0], [60.0, 0.0]]) * metre
    alike = 0.95 * LOOKS[0] + 0.1 * LOOKS[1]
    rows = PlaceRows(["near", "far"], np.stack([alike / np.linalg.norm(alike), LOOKS[0]]), positions)
    index = PlaceIndex.create(tmp_path / "index", IndexRecord("m", "m", DIM, kind), [rows])
    near = np.array([[-10.0 * metre, 0.0], [np.nan, np.nan]])
    query = LOOKS[[0, 0]]
    localizer = DescriptorLocalizer(index)
    for penalty, expected in ((0.0, [1, 1]), (0.2, [0, 1])):
        prior = Prior(near=near, within=100.0, penalty=penalty)
        answers = localizer.locate(query, prior)
        np.testing.assert_allclose(answers.positions, positions[expected], atol=1e-7)
        assert answers.candidates.names[:, 0].tolist() == ["far", "far"]
        walk = localizer.locate_sequence(query[:1], prior.of([0]))
        np.testing.assert_allclose(walk.positions, positions[expected[:1]], atol=1e-7)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"near": [1.0, np.nan]}, "`near` must be"),
        ({"near": [[1.0, np.inf]]}, "`near` must be"),
        ({"near": [1.0, 2.0, 3.0]}, "`near` must be"),
        ({"within": 0.0}, "`within` must be"),
        ({"time_of_day": "24:00"}, "`time_of_day` must be"),
        ({"time_of_day": "9pm"}, "`time_of_day` must be"),
        ({"penalty": -0.1}, "`penalty` must be"),
        ({"hours": np.nan}, "`hours` must be"),
    ],
)
def test_wrong_priors_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Prior(**change)  # type: ignore[arg-type]
