import itertools
import tracemalloc

import numpy as np
import pytest

from keras_sare.datasets.sfm.sfm_dataset import SfMDataset
from keras_sare.evaluation.sfm_labels import label_agreement, read_image_labels


def make_dataset(models, clusters, observed=None):
    paths = [f"photos/{i}.jpg" for i in range(len(models))]
    if observed is None:
        return SfMDataset("street", paths, models, clusters)
    starts = np.cumsum([0, *map(len, observed)])
    points = np.concatenate(observed)
    return SfMDataset("street", paths, models, clusters, None, starts, points, np.ones(len(points)))


def names_of(dataset):
    return np.array([path.removeprefix("photos/") for path in dataset.paths.tolist()], np.dtypes.StringDType())


def test_shares_of_a_photo_are_read_from_its_rows(tmp_path):
    (tmp_path / "buildings.csv").write_text(
        "image,building,x1,share\na.jpg,1,0,0.25\na.jpg,2,0,0.5\nb.jpg,1,0,0.9\na.jpg,1,7,0.3\n"
    )
    assert read_image_labels(tmp_path / "buildings.csv") == {"a.jpg": {"1": 0.3, "2": 0.5}, "b.jpg": {"1": 0.9}}
    (tmp_path / "labels.csv").write_text("label,image\nchurch,a.jpg\n")
    assert read_image_labels(tmp_path / "labels.csv") == {"a.jpg": {"church": 1.0}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,what\na,b\n", "`path` must have the columns image and label"),
        ("", "`path` must have the columns image and label"),
        ("image,label,share\na,b,1\na,b,much\n", "Row 3 of `path` must give a share as a number"),
    ],
    ids=["no label", "empty", "no number"],
)
def test_files_of_something_else_are_refused(tmp_path, text, message):
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_image_labels(tmp_path / "labels.csv")


def test_agreement_of_a_street_that_can_be_counted_by_hand():
    # Models 0 and 1 show building a; 1 shows b too. Model 2 shows c, and one photo of it a. Models 1 and 2 are linked.
    dataset = make_dataset([0, 0, 0, 1, 1, 2, 2], [0, 0, 0, 1, 1, 1, 1])
    labels = dict(zip((f"{i}.jpg" for i in range(7)), "aaaabca", strict=True))
    agreement = label_agreement(dataset, names_of(dataset), {name: {label: 1.0} for name, label in labels.items()})
    assert agreement.labelled == 7
    assert agreement.model_purity == pytest.approx((3 + 1 + 1) / 7)
    assert agreement.cluster_purity == pytest.approx((3 + 2) / 7)
    assert (agreement.models_apart, agreement.false_models_apart) == (2, 2)
    assert (agreement.photos_apart, agreement.false_photos_apart) == (12, 6)
    assert np.isnan(agreement.positive_agreement)


def test_the_main_label_is_the_largest_and_photos_without_any_are_left_aside():
    dataset = make_dataset([0, 0, 1], [0, 0, 1])
    labels = {"0.jpg": {"a": 0.2, "b": 0.7}, "2.jpg": {"b": 0.1}}
    agreement = label_agreement(dataset, names_of(dataset), labels)
    assert agreement.labelled == 2
    assert (agreement.model_purity, agreement.cluster_purity) == (1.0, 1.0)
    assert (agreement.photos_apart, agreement.false_photos_apart) == (1, 1)


def test_positives_are_pairs_that_see_a_fifth_of_the_same_points():
    # Photo 1 shares two of the ten points of photo 0, which is enough for both; photo 2 one of ten, which is not.
    observed = [list(range(10)), [8, 9], [0, *range(20, 29)], [90]]
    dataset = make_dataset([0, 0, 0, 1], [0, 0, 0, 1], observed)
    same = {f"{i}.jpg": {"a": 1.0} for i in range(4)}
    assert label_agreement(dataset, names_of(dataset), same).positive_agreement == 1.0
    other = same | {"1.jpg": {"b": 1.0}}
    assert label_agreement(dataset, names_of(dataset), other).positive_agreement == 0.0
    both = same | {"1.jpg": {"b": 0.9, "a": 0.1}}
    assert label_agreement(dataset, names_of(dataset), both).positive_agreement == 1.0


def test_counts_equal_those_of_plain_loops_on_random_photos():
    random = np.random.RandomState(0)
    models = np.sort(random.randint(0, 8, 40))
    clusters = models // 2
    main = random.randint(0, 5, 40)
    observed = [np.sort(random.choice(25, 8, replace=False)) + 100 * model for model in models]
    dataset = make_dataset(models, clusters, observed)
    agreement = label_agreement(dataset, names_of(dataset), {f"{i}.jpg": {str(main[i]): 1.0} for i in range(40)})
    pairs = list(itertools.combinations(range(40), 2))
    apart = [(i, j) for i, j in pairs if clusters[i] != clusters[j]]
    assert agreement.photos_apart == len(apart)
    assert agreement.false_photos_apart == sum(main[i] == main[j] for i, j in apart)
    false = {(models[i], models[j]) for i, j in apart if main[i] == main[j]}
    assert agreement.false_models_apart == len(false)
    positives = [
        main[i] == main[j]
        for i, j in itertools.permutations(range(40), 2)
        if models[i] == models[j] and len(np.intersect1d(observed[i], observed[j])) >= 0.2 * 8
    ]
    assert agreement.positive_agreement == pytest.approx(np.mean(positives))


def test_thousands_of_models_take_little_memory():
    models = np.repeat(np.arange(2000), 2)
    dataset = make_dataset(models, models // 2, [[2 * model] for model in models])
    labels = {f"{photo}.jpg": {str(model // 4): 1.0} for photo, model in enumerate(models)}
    names = names_of(dataset)
    tracemalloc.start()
    try:
        agreement = label_agreement(dataset, names, labels)
        highest = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # A table of all pairs of models would be 4 million numbers.
    assert highest < 4e6
    assert agreement.models_apart == (2000 * 1999 - 1000 * 2) // 2
    # Of the four models of a label, in two clusters, four pairs are apart, and 4 x 4 pairs of their photos.
    assert (agreement.false_models_apart, agreement.false_photos_apart) == (500 * 4, 500 * 16)
    assert agreement.photos_apart == (4000 * 3996) // 2
    assert (agreement.model_purity, agreement.cluster_purity, agreement.positive_agreement) == (1.0, 1.0, 1.0)


def test_models_of_two_labels_in_common_count_once():
    dataset = make_dataset([0, 0, 1, 1, 2], [0, 0, 1, 1, 2])
    labels = {f"{i}.jpg": {label: 1.0} for i, label in enumerate("abbac")}
    agreement = label_agreement(dataset, names_of(dataset), labels)
    assert (agreement.models_apart, agreement.false_models_apart) == (3, 1)


def test_labels_of_other_photos_are_refused():
    dataset = make_dataset([0], [0])
    with pytest.raises(ValueError, match=r"`labels` must name photos of the dataset.*1 labelled images.*0.jpg"):
        label_agreement(dataset, names_of(dataset), {"photos/0.jpg": {"a": 1.0}})
