import numpy as np
import pytest
from PIL import Image

from export.fidelity.photos import FidelityPhotos
from keras_sare.datasets import ImageSet, PlaceDataset, load_image
from keras_sare.evaluation import evaluate


def write(folder, count):
    folder.mkdir(parents=True)
    paths = [folder / f"{number:03d}.jpg" for number in range(count)]
    for number, path in enumerate(paths):
        Image.new("RGB", (8, 6), (number, 0, 0)).save(path)
    return np.array(list(map(str, paths)))


@pytest.fixture
def dataset(tmp_path):
    """40 database images and 20 queries along a street, 10 m and 20 m apart."""
    database = ImageSet(write(tmp_path / "images", 40), np.arange(40)[:, None] * (10.0, 0.0))
    queries = ImageSet(write(tmp_path / "queries", 20), np.arange(20)[:, None] * (20.0, 0.0) + (0, 3))
    return PlaceDataset("street_test", database, queries)


def test_all_images_of_a_dataset_are_taken(dataset):
    photos = FidelityPhotos.of_places(dataset)
    assert photos.paths.tolist() == dataset.paths.tolist()
    assert photos.description == "street_test, 40 database images and 20 queries, within 25 m"


def test_sample_has_the_nearest_positives_of_its_queries_and_is_spread_evenly(dataset):
    photos = FidelityPhotos.of_places(dataset, max_images=15, radius=30)
    names = [path[-10:] for path in photos.paths.tolist()]
    assert len(photos.places.database) == 10
    nearest = {0, 10, 20, 28, 38}
    others = {1, 9, 19, 30, 39}
    assert names[:10] == [f"es/{n:03d}.jpg" for n in sorted(nearest | others)]
    assert names[10:] == [f"es/{n:03d}.jpg" for n in (0, 5, 10, 14, 19)]
    assert photos.description == (
        "street_test, a sample of 60 images: 10 database images and 5 queries drawn with their nearest positives, "
        "within 30 m"
    )
    np.testing.assert_array_equal(photos.places.queries.positions[1], (100, 3))


@pytest.mark.parametrize("max_images", [2, 3, 7, 20, 59])
@pytest.mark.parametrize("shown", [[7], [3, 4, 17], range(20)])
def test_every_query_of_a_sample_has_a_positive(max_images, shown, dataset, monkeypatch):
    """Where most queries were taken elsewhere, and few images of the database are near any of them."""
    # All can be read, as other tests see.
    monkeypatch.setattr("export.fidelity.photos.readable_images", lambda paths, *_: np.arange(len(paths)))
    positions = np.where(np.isin(np.arange(20), list(shown))[:, None], dataset.queries.positions, 1e6)
    queries = ImageSet(dataset.queries.paths, positions)
    photos = FidelityPhotos.of_places(PlaceDataset("far", dataset.database, queries), max_images, radius=5)
    assert photos.places.positives(5).counts.all()
    assert len(photos.paths) == min(max_images, 40 + len(photos.places.queries))
    assert len(set(photos.paths.tolist())) == len(photos.paths)


def test_sample_of_a_small_database_takes_more_queries(dataset):
    small = PlaceDataset("small", dataset.database.subset(np.arange(3)), dataset.queries)
    places = FidelityPhotos.of_places(small, max_images=20, radius=1000).places
    assert (len(places.database), len(places.queries)) == (3, 17)


def test_named_places_are_enough_to_draw_a_sample_and_to_measure_recall(dataset):
    sides = [
        ImageSet(side.paths, places=np.array([f"room {i // step}" for i in range(len(side))]))
        for side, step in ((dataset.database, 4), (dataset.queries, 2))
    ]
    photos = FidelityPhotos.of_places(PlaceDataset("rooms", *sides), max_images=12)
    assert photos.places.positives(25).counts.all()
    assert photos.description.endswith("at the same place")
    names = np.concatenate([photos.places.database.places, photos.places.queries.places])
    assert photos.recalls((names[:, None] == np.unique(names)).astype("float32"), [1]) == {1: 1.0}


def test_sample_keeps_the_rule_of_timestamps(dataset):
    database = ImageSet(dataset.database.paths, dataset.database.positions, timestamps=np.arange(40) % 2)
    queries = ImageSet(dataset.queries.paths, dataset.queries.positions, timestamps=np.zeros(20, int))
    places = FidelityPhotos.of_places(
        PlaceDataset("tokyo", database, queries, other_timestamps=True), max_images=10
    ).places
    positives = places.positives(25)
    assert positives.counts.all()
    assert (places.database.timestamps[positives.indices] == 1).all()


@pytest.mark.parametrize("max_images", [None, 10])
def test_dataset_without_any_positive_is_refused(max_images, dataset):
    queries = ImageSet(dataset.queries.paths, dataset.queries.positions + 1e6)
    with pytest.raises(
        ValueError,
        match="No query of 'far' has a database image within 25 m .*--images=FOLDER.*Received: 20 queries, 40 database",
    ):
        FidelityPhotos.of_places(PlaceDataset("far", dataset.database, queries), max_images)


def test_limit_above_the_size_takes_everything(dataset):
    assert len(FidelityPhotos.of_places(dataset, max_images=60).paths) == 60
    assert len(FidelityPhotos.of_places(dataset, max_images=2).paths) == 2


def test_recalls_are_those_of_a_direct_evaluation(dataset):
    descriptors = np.random.default_rng(0).normal(size=(60, 4)).astype("float32")
    descriptors /= np.linalg.norm(descriptors, axis=1, keepdims=True)
    positives = [np.flatnonzero(np.abs(10 * np.arange(40) - 20 * q) <= np.sqrt(25**2 - 3**2)) for q in range(20)]
    expected, _ = evaluate(descriptors[40:], descriptors[:40], positives, protocol="", dataset="", ns=(1, 5, 10))
    recalls = FidelityPhotos.of_places(dataset).recalls(descriptors, (1, 5, 10, 50))
    assert recalls == dict(zip((1, 5, 10), expected.recalls, strict=True))
    assert 0 < recalls[1] < recalls[10] < 1


def test_damaged_files_are_left_out_or_refused(dataset, tmp_path, caplog):
    write(tmp_path / "more", 150)
    (tmp_path / "more" / "007.jpg").write_bytes(b"")
    photos = FidelityPhotos.of_files(tmp_path / "more")
    assert len(photos.paths) == 149
    assert "007.jpg: empty file" in caplog.text
    (tmp_path / "queries" / "003.jpg").write_bytes(b"")
    with pytest.raises(ValueError, match="1 of the 20 `queries` images of 'street_test' cannot be read, .* 0 .*mend"):
        FidelityPhotos.of_places(dataset)
    assert len(FidelityPhotos.of_places(dataset, max_corrupt_share=0.05).places.queries) == 19


def test_sample_goes_on_as_long_as_half_of_it_can_be_read(dataset, tmp_path, caplog):
    for name in ("queries/000.jpg", "images/009.jpg", "images/030.jpg"):
        (tmp_path / name).write_bytes(b"")
    photos = FidelityPhotos.of_places(dataset, max_images=15, radius=30)
    assert (len(photos.places.database), len(photos.places.queries)) == (8, 4)
    assert "street_test, database: 2 of 10 images cannot be read" in caplog.text
    assert len(FidelityPhotos.of_files(tmp_path / "queries", max_images=2).paths) == 1
    for name in ("005", "010"):
        (tmp_path / "queries" / f"{name}.jpg").write_bytes(b"")
    with pytest.raises(ValueError, match="3 of the 5 `queries` images of '.*' cannot be read, at most 2 may be"):
        FidelityPhotos.of_places(dataset, max_images=15, radius=30)


def test_positives_that_cannot_be_read_do_not_count(dataset, tmp_path):
    few = PlaceDataset("few", dataset.database, dataset.queries.subset(np.array([5])))
    (tmp_path / "images" / "010.jpg").write_bytes(b"")
    with pytest.raises(ValueError, match="No query of 'few' has a database image within 4 m that can be read"):
        FidelityPhotos.of_places(few, radius=4, max_corrupt_share=0.1)


def test_folders_and_lists_of_files_have_no_places(dataset, tmp_path):
    folder = FidelityPhotos.of_files(tmp_path / "images", max_images=3)
    assert [path[-7:] for path in folder.paths] == ["000.jpg", "020.jpg", "039.jpg"]
    assert folder.description == f"{tmp_path / 'images'}, an evenly spread sample of 40 photos: 3 photos"
    some = FidelityPhotos.of_files([tmp_path / "images" / "001.jpg", str(tmp_path / "queries" / "002.jpg")])
    assert some.description == "a list, 2 photos"
    assert some.places is None
    assert some.recalls(np.eye(2), (1,)) == {}


def test_rendered_pictures_differ_and_say_what_they_are(tmp_path):
    photos = FidelityPhotos.rendered(tmp_path)
    assert photos.description == "12 rendered pictures"
    assert len({Image.open(path).tobytes() for path in photos.paths}) == 12


@pytest.mark.parametrize(
    ("size", "rendered"), [(None, (240, 320)), ((48, 64), (240, 320)), (400, (300, 400)), (4096, (768, 1024))]
)
def test_rendered_pictures_are_as_large_as_photos_of_a_limited_longer_side(size, rendered, tmp_path, monkeypatch):
    monkeypatch.setattr("export.fidelity.photos._RENDERED", 1)
    [path] = FidelityPhotos.rendered(tmp_path, size).paths
    assert load_image(path).shape == (*rendered, 3)


@pytest.mark.parametrize(("count", "message"), [(1, "at least 2. Received: max_images=1"), (0, "at least 2")])
def test_too_few_images_are_refused(count, message, dataset, tmp_path):
    with pytest.raises(ValueError, match=message):
        FidelityPhotos.of_places(dataset, count)
    with pytest.raises(ValueError, match="`max_images` must be at least 1. Received: max_images=0"):
        FidelityPhotos.of_files(tmp_path / "images", 0)


def test_empty_list_is_refused():
    with pytest.raises(ValueError, match="`photos` must name a folder of photos, or at least one file"):
        FidelityPhotos.of_files([])
