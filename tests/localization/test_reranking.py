"""Candidates that show the same points as the photo come first; each photo here is a view of a scene of points."""

import io
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import keras_sare
from keras_sare.local_features import LocalFeatures
from keras_sare.localization import DescriptorLocalizer, IndexRecord, PlaceIndex, PlaceRows, photo_answers
from keras_sare.localization.reranking.lazy_photos import LazyPhotos
from keras_sare.localization.reranking.local_reranker import LocalReranker, RerankingSettings

pytest.importorskip("lancedb")
pytest.importorskip("pycolmap")

POINTS = 40
SCENES = 6
DIM = 8


def view(scene: int, step: int) -> np.ndarray:
    """A photo whose colour says what it shows: a scene, from a place that is `step` to the right."""
    return np.full((40, 40, 3), [10 * scene, step, 0], np.uint8)


def seen(image: np.ndarray) -> LocalFeatures:
    """What a detector would find there: the scene's points through a pinhole."""
    scene, step, _ = image[0, 0].astype(int)
    generator = np.random.default_rng(scene)
    points = generator.uniform([-4, -3, 6], [4, 3, 14], (POINTS, 3)) + [0.1 * step, 0.02 * step, 0.01 * step]
    descriptors = generator.normal(size=(POINTS, 64)).astype(np.float32)
    descriptors /= np.linalg.norm(descriptors, axis=1, keepdims=True)
    keypoints = (300 * points[:, :2] / points[:, 2:] + 200).astype(np.float32)
    return LocalFeatures(keypoints, np.ones(POINTS, np.float32), descriptors, image.shape[:2])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for scene in range(SCENES):
        Image.fromarray(view(scene, step=0)).save(tmp_path / f"{scene}.png")
    return tmp_path


def reranker(folder: Path, extract: Callable[[np.ndarray], LocalFeatures] = seen, **settings: object) -> LocalReranker:
    return LocalReranker(folder, RerankingSettings(matcher="mutual", **settings), extract)


def test_points_are_shared_with_photos_of_the_scene_alone(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "damaged.png").write_bytes(b"\x89PNG\r\n\x1a\n damaged")
    names = ["0.png", "3.png", "damaged.png", "missing.png", "../1.png", str(folder / "3.png")]
    found = reranker(folder).inliers(view(3, step=8), names)
    np.testing.assert_array_equal(found, [0, POINTS, 0, 0, 0, 0])
    assert [record.getMessage().split(":")[0] for record in caplog.records] == [
        f"Not compared with {name!r}" for name in names[2:]
    ]
    with pytest.raises(FileNotFoundError, match="none of the candidates can be read there. Received: 'missing.png'"):
        reranker(folder).inliers(view(3, step=8), ["missing.png"])


def test_a_photo_that_is_too_small_is_not_compared_and_harms_no_other(
    index: PlaceIndex, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def extract(image: np.ndarray) -> LocalFeatures:
        if min(image.shape[:2]) < 32:
            raise ValueError("too small")
        return seen(image)

    photos = [view(3, step=8)[:1], view(3, step=8)]
    candidates = index.search(look(np.array([3, 3]), confusing=True), 3)
    reranked = reranker(folder, extract, first=2).rerank(candidates, photos, np.array([True, True]))
    np.testing.assert_array_equal(reranked.inliers, [[-1, -1, -1], [POINTS, 0, -1]])
    np.testing.assert_array_equal(reranked.candidates.names[0], candidates.names[0])
    assert caplog.text.count("Photo 0 is not compared with its candidates: too small") == 1


def test_no_candidate_is_compared_once_a_check_ends_the_work(index: PlaceIndex, folder: Path) -> None:
    extracted = []

    def extract(image: np.ndarray) -> LocalFeatures:
        extracted.append(image)
        return seen(image)

    def check() -> None:
        if len(extracted) >= 3:
            raise TimeoutError

    candidates = index.search(look(np.array([3]), confusing=True), 5)
    with pytest.raises(TimeoutError):
        reranker(folder, extract, first=5).rerank(candidates, [view(3, step=8)], np.array([True]), check)
    # The photo's and those of two candidates.
    assert len(extracted) == 3


@pytest.mark.parametrize("orientation", ["upright", "stored"])
def test_each_map_reads_photos_as_it_was_built(index: PlaceIndex, folder: Path, orientation: str) -> None:
    """Also those that were opened for a map that reads them in another way."""
    shapes = []

    def extract(image: np.ndarray) -> LocalFeatures:
        shapes.append(image.shape)
        return seen(image)

    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(view(3, step=8)).resize((48, 32)).save(folder / "turned.jpg", exif=exif)
    candidates = index.search(look(np.array([3]), confusing=True), 1)
    for opened in ("upright", "stored"):
        photos = LazyPhotos([folder / "turned.jpg"], orientation=opened)
        reranker(folder, extract, orientation=orientation).rerank(candidates, photos, np.array([True]))
        assert shapes[0] == ((48, 32, 3) if orientation == "upright" else (32, 48, 3))
        shapes.clear()


def test_memory_of_the_photos_features_is_bounded(folder: Path) -> None:
    read = []

    def extract(image: np.ndarray) -> LocalFeatures:
        read.append(int(image[0, 0, 0]) // 10)
        return seen(image)

    names = ["0.png", "1.png", "2.png", "1.png", "0.png"]
    for photos, expected in ((0, [0, 1, 2, 1, 0]), (2, [0, 1, 2, 0]), (3, [0, 1, 2])):
        one = reranker(folder, extract, max_bytes=photos * seen(view(0, 0)).nbytes)
        one.features(view(5, step=1))
        read.clear()
        for name in names:
            one.inliers(view(5, step=1), [name])
        assert [scene for scene in read if scene != 5] == expected


def look(scenes: np.ndarray, confusing: bool) -> np.ndarray:
    """Descriptors: where they confuse, a scene is a little more like the next one than like itself."""
    own = np.eye(DIM)[scenes]
    other = np.eye(DIM)[(scenes + 1) % SCENES]
    descriptors = own + 1.05 * other if confusing else own + 0.1 * other
    return descriptors / np.linalg.norm(descriptors, axis=1, keepdims=True)


@pytest.fixture
def index(folder: Path) -> PlaceIndex:
    scenes = np.arange(SCENES)
    positions = np.stack([200.0 * scenes, 0 * scenes], axis=1)
    rows = PlaceRows([f"{scene}.png" for scene in scenes], np.eye(DIM)[scenes], positions)
    return PlaceIndex.create(folder / "index", IndexRecord("m", "m", DIM), [rows])


def test_answers_move_to_the_place_that_shows_the_same_points(index: PlaceIndex, folder: Path) -> None:
    scenes = np.arange(SCENES)
    photos = [view(scene, step=8) for scene in scenes]
    localizer = DescriptorLocalizer(index, k=4, reranker=reranker(folder, first=2))
    descriptors = look(scenes, confusing=True)
    before = localizer.locate(descriptors)
    assert before.inliers is None
    assert (localizer.errors(before.positions, np.stack([200.0 * scenes, 0 * scenes], axis=1)) > 100).all()
    answers = localizer.locate(descriptors, photos=photos)
    assert (localizer.errors(answers.positions, np.stack([200.0 * scenes, 0 * scenes], axis=1)) < 1).all()
    assert answers.candidates.names[:, 0].tolist() == [f"{scene}.png" for scene in scenes]
    np.testing.assert_array_equal(answers.inliers, [[POINTS, 0, -1, -1]] * SCENES)
    np.testing.assert_allclose(answers.similarity, before.candidates.scores[:, 1])
    with pytest.raises(ValueError, match="`photos` must be those of the 6 descriptors. Received: 1 photos"):
        localizer.locate(descriptors, photos=photos[:1])


def test_photos_of_the_index_that_are_not_there_harm_no_other_photo(
    index: PlaceIndex, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for scene in (3, 4):
        (folder / f"{scene}.png").unlink()
    candidates = index.search(look(np.array([3, 0]), confusing=True), 3)
    reranked = reranker(folder, first=2).rerank(candidates, [view(3, 8), view(0, 8)], np.array([True, True]))
    np.testing.assert_array_equal(reranked.inliers, [[-1, -1, -1], [POINTS, 0, -1]])
    assert caplog.text.count("Photo 0 is not compared with its candidates: `photos` must be the folder of the") == 1


def test_candidates_that_were_compared_and_others_are_ranked_by_one_measure(index: PlaceIndex, folder: Path) -> None:
    """A photo of scene 4, and one of nothing that is known, both much like a photo that is not compared."""
    descriptors = look(np.array([4, 4]), confusing=True)
    twin = PlaceRows(["twin.png"], descriptors[:1], np.array([[9000.0, 0.0]]))
    other = PlaceIndex.create(folder / "other", IndexRecord("m", "m", DIM), [twin])
    compares = reranker(folder, first=2)
    maps = {
        "index": DescriptorLocalizer(index, k=3, reranker=compares),
        "other": DescriptorLocalizer(other, k=3),
    }
    for scene in (4, 20):
        Image.fromarray(view(scene, step=8)).save(folder / f"query{scene}.png")
    photos = compares.lazy([folder / "query4.png", folder / "query20.png"])
    shared, nothing = photo_answers(maps, descriptors, ["", ""], photos=photos)
    assert (shared.map, [one.name for one in shared.candidates]) == ("index", ["4.png", "twin.png", "5.png"])
    assert (nothing.map, [one.name for one in nothing.candidates]) == ("other", ["twin.png", "5.png", "4.png"])


def test_sure_answers_are_left_as_they_are_and_inliers_make_others_sure(index: PlaceIndex, folder: Path) -> None:
    generator = np.random.default_rng(0)
    scenes = generator.integers(0, SCENES, 120)
    confusing = np.arange(120) % 2 == 0
    descriptors = np.where(confusing[:, None], look(scenes, True), look(scenes, False))
    # Half of the confusing photos show nothing that the map has.
    shown = np.where(np.arange(120) % 4 == 0, 20, scenes)
    truth = np.stack([np.where(shown == scenes, 200.0 * scenes, 1e5), 0 * scenes], axis=1)
    asked: list[int] = []

    class Photos:
        def __len__(self) -> int:
            return len(shown)

        def __getitem__(self, number: int) -> np.ndarray:
            asked.append(number)
            return view(shown[number], step=8)

    localizer = DescriptorLocalizer(index, k=4, reranker=reranker(folder, first=2))
    index.calibrate(localizer.calibrate(descriptors, truth))
    localizer = DescriptorLocalizer(index, k=4, precision=0.99, reranker=reranker(folder, first=2))
    sure = localizer.locate(descriptors).known
    # What nothing is known of is not said: photos alone were not re-ranked.
    answers = localizer.locate(descriptors, photos=Photos())
    np.testing.assert_array_equal(answers.known, sure)
    np.testing.assert_array_equal(np.isnan(answers.probability), ~sure)
    np.testing.assert_array_equal(np.isnan(answers.uncertainty), ~sure)
    (folder / "unread").mkdir()
    unread = DescriptorLocalizer(index, k=4, precision=0.99, reranker=reranker(folder / "unread", first=2))
    kept = unread.locate(descriptors[:4], photos=[*map(Photos().__getitem__, range(4))])
    np.testing.assert_array_equal(kept.probability, localizer.locate(descriptors[:4]).probability)
    index.calibrate(localizer.calibrate(descriptors, truth, photos=Photos()))
    record = PlaceIndex(index.folder).record
    assert record == index.record
    assert (len(record.calibration.weights), len(record.reranked.weights)) == (3, 4)
    asked.clear()
    again = PlaceIndex(index.folder)
    localizer = DescriptorLocalizer(again, k=4, precision=0.99, reranker=reranker(folder, first=2))
    plain = localizer.locate(descriptors)
    answers = localizer.locate(descriptors, photos=Photos())
    assert asked == np.flatnonzero(~plain.known).tolist() == np.flatnonzero(confusing).tolist()
    np.testing.assert_array_equal(answers.known, shown == scenes)
    assert (answers.probability[shown == scenes] > 0.8).all()
    assert (answers.probability[shown != scenes] < 0.3).all()
    index.calibrate()
    assert (index.record.calibration, index.record.reranked) == (None, None)


class Colours:
    """A model that confuses the scenes of photos."""

    identity = "m"

    def extract(self, files: Sequence[bytes]) -> tuple[np.ndarray, list[str]]:
        scenes = [0 if not file else np.asarray(Image.open(io.BytesIO(file)))[0, 0, 0] // 10 for file in files]
        return look(np.array(scenes, int), True).astype(np.float32), ["" if file else "empty" for file in files]


def test_photos_are_reranked_from_their_files_or_contents(index: PlaceIndex, folder: Path) -> None:
    rerankers = {"index": reranker(folder, first=2)}
    contents = (folder / "4.png").read_bytes()
    answers = keras_sare.Localizer(index.folder, Colours(), k=3, rerankers=rerankers).locate(
        [folder / "1.png", folder / "none.png", contents], batch=2
    )
    assert [answer.error for answer in answers] == [None, "missing", None]
    for scene, answer in ((1, answers[0]), (4, answers[2])):
        assert answer.position == {"easting": 200.0 * scene, "northing": 0.0}
        assert [one.name for one in answer.candidates][:2] == [f"{scene}.png", f"{scene + 1}.png"]
        assert answer.candidates[0].score < answer.candidates[1].score
    with pytest.raises(ValueError, match="`rerankers` must be"):
        keras_sare.Localizer(index.folder, Colours(), rerankers={"town": rerankers["index"]})


def test_without_pycolmap_an_error_says_so_before_any_work(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pycolmap", None)
    with pytest.raises(ImportError, match=r"geometry of local features need pycolmap, .* `pip install .*\[sfm\]"):
        reranker(folder)


def test_wrong_settings_are_refused(folder: Path) -> None:
    for wrong in ({"first": 0}, {"keypoints": -1}, {"error": 0.0}, {"longer_side": 0}):
        with pytest.raises(ValueError, match=f"`{next(iter(wrong))}` must be positive"):
            reranker(folder, **wrong)
    with pytest.raises(ValueError, match="`max_bytes` must not be negative"):
        reranker(folder, max_bytes=-1)
    with pytest.raises(ValueError, match="`matcher` must be"):
        RerankingSettings(matcher="glue")
    with pytest.raises(NotADirectoryError, match="`photos` must be the folder of the index's photos"):
        reranker(folder / "none")
