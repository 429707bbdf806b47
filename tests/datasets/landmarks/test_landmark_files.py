import json
import pickle

import numpy as np
import pytest

from keras_sare.datasets.landmarks.landmark_files import read_landmarks

TRUTH = {
    "imlist": ["a_1", "b_2", "c_3"],
    "qimlist": ["q_1", "b_2"],
    "gnd": [
        {"bbx": [1.0, 2.0, 30.5, 40.0], "easy": [0], "hard": [], "junk": [2]},
        {"bbx": [0, 0, 5, 5], "easy": [], "hard": [0, 2], "junk": [1]},
    ],
}


def make_images(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")


def contents(dataset):
    """A dataset as plain lists, files relative to their folder's name."""
    return {
        "name": dataset.name,
        "database": [path.rpartition("/")[2] for path in dataset.database],
        "queries": [path.rpartition("/")[2] for path in dataset.queries],
        "boxes": None if dataset.boxes is None else dataset.boxes.tolist(),
        "labels": [{label: rows.tolist() for label, rows in each.items()} for each in dataset.labels],
    }


@pytest.fixture
def gnd(tmp_path):
    """Writes a ground truth and its images; gives the file."""

    def write(truth=TRUTH, name="gnd_toy.json", images=("a_1.jpg", "b_2.JPG", "c_3.png", "q_1.jpeg")):
        make_images(tmp_path / "images", *images)
        path = tmp_path / name
        path.write_bytes(json.dumps(truth).encode() if name.endswith(".json") else pickle.dumps(truth, 2))
        return path

    return write


EXPECTED = {
    "name": "toy",
    "database": ["a_1.jpg", "b_2.JPG", "c_3.png"],
    "queries": ["q_1.jpeg", "b_2.JPG"],
    "boxes": [[1, 2, 30.5, 40], [0, 0, 5, 5]],
    "labels": [
        {"easy": [0], "hard": [], "junk": [2]},
        {"easy": [], "hard": [0, 2], "junk": [1]},
    ],
}


@pytest.mark.parametrize("name", ["gnd_toy.json", "gnd_toy.pkl", "toy.pickle"])
def test_a_ground_truth_is_read_from_json_and_from_a_pickle(gnd, name):
    assert contents(read_landmarks(gnd(name=name))) == EXPECTED


def test_a_folder_with_a_ground_truth_is_as_good_as_the_file(gnd):
    assert contents(read_landmarks(gnd().parent)) == EXPECTED


def test_the_two_forms_of_one_ground_truth_may_lie_side_by_side(gnd):
    gnd(name="gnd_toy.pkl")

    assert contents(read_landmarks(gnd().parent)) == EXPECTED


def test_names_may_have_their_extension(gnd):
    truth = TRUTH | {"imlist": ["a_1.jpg", "b_2.JPG", "c_3.png"], "qimlist": ["q_1.jpeg", "b_2.JPG"]}

    assert contents(read_landmarks(gnd(truth))) == EXPECTED


def test_numpy_arrays_in_a_pickle_are_labels_too(gnd):
    truths = [
        {**each, "bbx": np.array([each["bbx"]]), "easy": np.array([each["easy"]], np.uint16)} for each in TRUTH["gnd"]
    ]

    assert contents(read_landmarks(gnd(TRUTH | {"gnd": truths}, "gnd_toy.pkl"))) == EXPECTED


def test_files_in_sub_folders_are_found_by_their_path_or_by_their_name(gnd):
    truth = TRUTH | {"imlist": ["eiffel/a_1", "b_2", "c_3.png"], "qimlist": ["q_1", "defense/b_2.jpg"]}
    path = gnd(
        truth, images=("eiffel/a_1.jpg", "defense/b_2.jpg", "louvre/c_3.png", "louvre/q_1.jpg", "pompidou/x.jpg")
    )

    dataset = read_landmarks(path)

    assert dataset.database.tolist() == [
        str(path.parent / "images" / name) for name in ("eiffel/a_1.jpg", "defense/b_2.jpg", "louvre/c_3.png")
    ]
    assert dataset.queries[1] == dataset.database[1]


def test_a_name_that_fits_two_files_is_refused(gnd):
    path = gnd(images=("x/a_1.jpg", "y/a_1.jpg", "b_2.jpg", "c_3.jpg", "q_1.jpg"))

    with pytest.raises(ValueError, match=r"a_1 may be x/a_1\.jpg or y/a_1\.jpg"):
        read_landmarks(path)


def test_of_two_extensions_of_one_name_jpg_is_meant(gnd):
    path = gnd(images=("a_1.png", "a_1.jpg", "b_2.jpg", "c_3.jpg", "q_1.jpg"))

    assert read_landmarks(path).database[0].endswith("a_1.jpg")


def test_images_and_name_can_be_given(gnd, tmp_path):
    path = gnd(images=())
    make_images(tmp_path / "photos", "a_1.jpg", "b_2.JPG", "c_3.png", "q_1.jpeg")

    assert contents(read_landmarks(path, tmp_path / "photos", "mine")) == EXPECTED | {"name": "mine"}


def test_a_ground_truth_without_boxes_asks_for_whole_images(gnd):
    truths = [{"ok": [1], "bbx": None}, {"ok": [0]}]

    dataset = read_landmarks(gnd(TRUTH | {"gnd": truths}))

    assert dataset.boxes is None
    assert dataset.protocols == ("classic",)


def test_missing_images_are_counted_and_named(gnd):
    with pytest.raises(
        ValueError, match=r"gnd_toy\.json names; 2 of 3 are missing, first b_2, c_3\. Received: images="
    ):
        read_landmarks(gnd(images=("a_1.jpg",)))


def test_a_name_cannot_lead_out_of_the_folder(gnd, tmp_path):
    make_images(tmp_path, "secret.jpg")
    truth = TRUTH | {"imlist": ["../secret.jpg", "b_2", "c_3"]}

    with pytest.raises(ValueError, match=r"1 of 3 are missing, first \.\./secret\.jpg"):
        read_landmarks(gnd(truth))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gnd": TRUTH["gnd"][:1]}, r"one dict for each query\. Received: 1 entries, 2 queries"),
        ({"gnd": [[1], [2]]}, r"one dict for each query"),
        ({"gnd": [{"ok": [0], "bbx": [1, 2, 3, 4]}, {"ok": [0]}]}, r"`bbx` .* 1 of 2 queries without, first gnd\[1\]"),
        ({"gnd": [{"ok": ["a"]}, {"ok": [0]}]}, r"list of whole numbers as gnd\[0\]\['ok'\]"),
        ({"gnd": [{"ok": [3]}, {"ok": [0]}]}, r"`labels` must be indices of the 3 database images"),
    ],
)
def test_a_ground_truth_of_another_form_is_refused(gnd, changes, message):
    with pytest.raises(ValueError, match=message):
        read_landmarks(gnd(TRUTH | changes))


def nested(levels=40):
    """A list that holds one list twice, and so on: its text would have 2 ** levels parts."""
    inner = [0]
    for _ in range(levels):
        inner = [inner, inner]
    return inner


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"imlist": 3}, "must hold a list of image names as imlist. Received: imlist of type int"),
        ({"qimlist": 3}, "must hold a list of image names as qimlist. Received: qimlist of type int"),
        ({"gnd": 3}, "one dict for each query. Received: int, 2 queries"),
        ({"imlist": ["a_1", nested()]}, r"image names as imlist. Received: imlist\[1\] of type list"),
        ({"gnd": [{"ok": [1]}, {"ok": nested()}]}, r"whole numbers as gnd\[1\]\['ok'\]. Received: .* of type list"),
        ({"gnd": [{"ok": [1], "bbx": nested()}, {"ok": [0], "bbx": [1, 2, 3, 4]}]}, r"`bbx` .* first gnd\[0\]"),
        ({"gnd": [{"ok": [1], "bbx": [0, 0, 1, 10**400]}, {"ok": [0], "bbx": [1, 2, 3, 4]}]}, r"`bbx` .* gnd\[0\]"),
    ],
)
def test_a_pickle_of_other_things_is_refused_by_their_type(gnd, changes, message):
    with pytest.raises(ValueError, match=message):
        read_landmarks(gnd(TRUTH | changes, "gnd_toy.pkl"))


def test_a_single_label_may_stand_without_a_list(gnd):
    dataset = read_landmarks(gnd(TRUTH | {"gnd": [{"ok": 2}, {"ok": [0, 1]}]}))

    assert [each["ok"].tolist() for each in dataset.labels] == [[2], [0, 1]]


@pytest.mark.parametrize("truth", [[1, 2], {"imlist": []}])
def test_a_file_that_is_no_ground_truth_is_refused(gnd, truth):
    with pytest.raises(ValueError, match="must hold `imlist`, `qimlist` and `gnd`"):
        read_landmarks(gnd(truth))


def test_several_ground_truths_in_one_folder_are_refused(gnd):
    gnd()

    with pytest.raises(ValueError, match=r"one of the ground truths.*gnd_other\.json, gnd_toy\.json"):
        read_landmarks(gnd(name="gnd_other.json").parent)


@pytest.fixture
def oxford(tmp_path):
    """Images and ground truth in the form of Oxford5k."""
    make_images(tmp_path / "jpg", *(f"all_souls_{number:06d}.jpg" for number in range(5)))
    truth = tmp_path / "gt"
    truth.mkdir()
    for query, parts in {"all_souls_1": ("1 3\n", "", "0\n"), "all_souls_2": ("", "2\n4\n", "")}.items():
        for part, numbers in zip(("good", "ok", "junk"), parts, strict=True):
            names = "".join(f"all_souls_{int(number):06d}\n" for number in numbers.split())
            (truth / f"{query}_{part}.txt").write_text(names)
    (truth / "all_souls_1_query.txt").write_text("oxc1_all_souls_000001 136.5 34.1 648.5 955.7\n")
    (truth / "all_souls_2_query.txt").write_text("all_souls_000004 0 0 10 20")
    return truth


def test_the_text_files_of_oxford_are_read(oxford):
    dataset = read_landmarks(oxford, oxford.parent / "jpg", "oxford5k")

    assert contents(dataset) == {
        "name": "oxford5k",
        "database": [f"all_souls_{number:06d}.jpg" for number in range(5)],
        "queries": ["all_souls_000001.jpg", "all_souls_000004.jpg"],
        "boxes": [[136.5, 34.1, 648.5, 955.7], [0, 0, 10, 20]],
        "labels": [{"ok": [1, 3], "junk": [0]}, {"ok": [2, 4], "junk": []}],
    }
    assert dataset.protocols == ("classic",)


def test_a_label_without_its_image_is_named_with_its_file(oxford):
    (oxford.parent / "jpg" / "all_souls_000003.jpg").unlink()

    with pytest.raises(ValueError, match=r"all_souls_1_good\.txt names; 1 of 2 are missing, first all_souls_000003"):
        read_landmarks(oxford, oxford.parent / "jpg")


def test_a_query_file_without_a_box_is_refused(oxford):
    (oxford / "all_souls_2_query.txt").write_text("all_souls_000004 0 0 10")

    with pytest.raises(ValueError, match=r"all_souls_2_query\.txt must hold an image name and x1 y1 x2 y2"):
        read_landmarks(oxford, oxford.parent / "jpg")


HOLIDAYS = ("100000.jpg", "100001.jpg", "100002.jpg", "100100.jpg", "100101.jpg")


def test_holidays_groups_images_by_their_first_four_digits(tmp_path):
    make_images(tmp_path / "holidays", *HOLIDAYS)

    dataset = read_landmarks(tmp_path / "holidays")

    assert contents(dataset) == {
        "name": "holidays",
        "database": list(HOLIDAYS),
        "queries": ["100000.jpg", "100100.jpg"],
        "boxes": None,
        "labels": [{"ok": [1, 2], "junk": [0]}, {"ok": [4], "junk": [3]}],
    }


def test_a_group_of_holidays_without_its_query_is_refused(tmp_path):
    make_images(tmp_path, *HOLIDAYS, "100201.jpg")

    with pytest.raises(ValueError, match=r"query \.\.\.00 of every group.*1 groups without, first 1002"):
        read_landmarks(tmp_path)


def test_a_folder_of_something_else_is_refused(tmp_path):
    make_images(tmp_path, "100000.jpg", "holiday.jpg")

    with pytest.raises(ValueError, match=r"`path` must be gnd_NAME\.pkl"):
        read_landmarks(tmp_path)


def test_a_folder_without_images_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"`images` must hold \.jpg, \.jpeg, \.png files"):
        read_landmarks(tmp_path)


def test_a_missing_folder_of_images_is_refused(gnd, tmp_path):
    with pytest.raises(ValueError, match="`images` must be the folder with the image files"):
        read_landmarks(gnd(), tmp_path / "none")


def test_a_missing_path_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="`path` must be a file or folder"):
        read_landmarks(tmp_path / "none.json")


def test_a_file_of_another_kind_is_refused(tmp_path):
    (tmp_path / "gnd.mat").write_bytes(b"")

    with pytest.raises(ValueError, match=r"a file \.json, \.pkl or \.pickle"):
        read_landmarks(tmp_path / "gnd.mat")


def test_both_forms_of_the_real_ground_truth_are_one_dataset(real_data):
    folder = real_data / "kitay_gorod"
    from_json, from_pickle = (read_landmarks(folder / f"gnd_kitay_gorod.{form}") for form in ("json", "pkl"))

    assert contents(from_json) == contents(from_pickle)
    assert (len(from_json.database), len(from_json.queries), from_json.boxes.shape) == (130, 49, (49, 4))
    assert from_json.protocols == ("classic", "easy", "medium", "hard")
    # Every query is a photo of the database, and its own ranking ignores it.
    for query, labels in zip(from_json.queries, from_json.labels, strict=True):
        assert query in from_json.database[labels["junk"]]
        assert labels["ok"].tolist() == sorted([*labels["easy"], *labels["hard"]])
