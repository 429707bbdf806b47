import numpy as np
import pytest
from PIL import Image

from export.fidelity_photos import FidelityPhotos
from keras_sare.datasets import ImageSet, PlaceDataset
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
    assert photos.description == "street_test, 40 database images and 20 queries, 25 m"


def test_sample_is_spread_evenly_over_queries_and_database(dataset):
    photos = FidelityPhotos.of_places(dataset, max_images=15, radius=30)
    names = [path[-10:] for path in photos.paths.tolist()]
    assert len(photos.places.database) == 10
    assert names[:10] == [f"es/{n:03d}.jpg" for n in (0, 4, 9, 13, 17, 22, 26, 30, 35, 39)]
    assert names[10:] == [f"es/{n:03d}.jpg" for n in (0, 5, 10, 14, 19)]
    assert photos.description == (
        "street_test, an evenly spread sample of 60 images: 10 database images and 5 queries, 30 m"
    )
    np.testing.assert_array_equal(photos.places.queries.positions[1], (100, 3))


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
    with pytest.raises(ValueError, match="1 of the 20 `queries` images of 'street_test' cannot be read"):
        FidelityPhotos.of_places(dataset)


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


@pytest.mark.parametrize(("count", "message"), [(1, "at least 2. Received: max_images=1"), (0, "at least 2")])
def test_too_few_images_are_refused(count, message, dataset, tmp_path):
    with pytest.raises(ValueError, match=message):
        FidelityPhotos.of_places(dataset, count)
    with pytest.raises(ValueError, match="`max_images` must be at least 1. Received: max_images=0"):
        FidelityPhotos.of_files(tmp_path / "images", 0)


def test_empty_list_is_refused():
    with pytest.raises(ValueError, match="`photos` must name a folder of photos, or at least one file"):
        FidelityPhotos.of_files([])
