import dataclasses
import json
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from keras_sare.datasets import LandmarkDataset
from keras_sare.evaluation import ComparisonSettings, MatchingPairs, RetrievalComparison, evaluate_protocols
from keras_sare.evaluation.comparisons import database_maps, retrieval_comparison
from keras_sare.extraction import cached_descriptors as cached_descriptors
from keras_sare.extraction import extract_images, extract_landmarks
from keras_sare.layers import MAC
from keras_sare.retrieval import DiffusionSettings
from keras_sare.whitening import fit_learned_whitening

SETTINGS = ComparisonSettings(longer_side=64, rerank=6, expand=3, diffusion=DiffusionSettings())


class Killed(BaseException):
    """Stands for a kill: nothing in the program handles it."""


def take(folder, name, buildings, views, seed):
    """Photos of some buildings, each a pattern of colours, that grow darker from view to view."""
    rng = np.random.default_rng(seed)
    folder.mkdir(exist_ok=True)
    paths = []
    for building in range(buildings):
        pattern = rng.integers(0, 255, (6, 8, 3)).repeat(8, 0).repeat(8, 1)
        for view in range(views):
            photo = pattern * (1 - 0.15 * view) + rng.integers(-50, 50, pattern.shape)
            paths.append(str(folder / f"{name}_{building}_{view}.jpg"))
            Image.fromarray(np.clip(photo, 0, 255).astype("uint8")).save(paths[-1], quality=95)
    return np.array(paths, np.dtypes.StringDType())


def small_model(seed):
    keras.utils.set_random_seed(seed)
    images = keras.Input((None, None, 3), name="images")
    x = keras.layers.Rescaling(1 / 127.5, -1, name="scale")(images)
    x = keras.layers.Conv2D(24, 8, strides=8, activation="relu", name="conv")(x)
    return keras.Model(images, MAC(name="mac")(x), name="small")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Landmarks: 4 buildings, a query and 3 database images of each; 6 others in pairs; 24 of other places."""
    folder = tmp_path_factory.mktemp("photos")
    shown = take(folder, "landmark", 4, 4, 0).reshape(4, 4)
    images = np.arange(12).reshape(4, 3)
    labels = tuple({"easy": row[:2], "hard": row[2:], "junk": images[3 - k, :1]} for k, row in enumerate(images))
    boxes = np.tile([4.0, 4.0, 60.0, 44.0], (4, 1))
    landmarks = LandmarkDataset("toy", shown[:, 1:].ravel(), shown[:, 0], boxes, labels)
    firsts = np.arange(24).reshape(6, 4)
    pairs = MatchingPairs(take(folder, "pair", 6, 4, 1), firsts[:, :3].ravel(), firsts[:, 1:].ravel())
    return landmarks, pairs, take(folder, "other", 24, 1, 2)


def small_models():
    return {"off the shelf": small_model(1), "fine-tuned": small_model(2)}


@pytest.fixture
def models():
    return small_models()


@dataclasses.dataclass
class Made:
    """A comparison that is done."""

    comparison: RetrievalComparison
    text: str
    models: dict[str, keras.Model]
    folder: Path


@pytest.fixture(scope="module")
def whole_line(photos, tmp_path_factory):
    """With all that there is to compare, and pictures: what takes long is done once."""
    models = small_models()
    folder = tmp_path_factory.mktemp("whole") / "table"
    comparison = RetrievalComparison(*photos, SETTINGS, folder)
    return Made(comparison, comparison.compare(models), models, folder)


@pytest.fixture
def compare(photos, tmp_path):
    def comparison(settings=SETTINGS, landmarks=None, pairs=photos[1], independent=photos[2]):
        return RetrievalComparison(landmarks or photos[0], pairs, independent, settings, tmp_path / "table")

    return comparison


@pytest.fixture
def described(monkeypatch):
    """What is described, and whose feature maps are computed, from now on; descriptors are random ones."""
    calls = []
    write_activation_maps = database_maps.write_activation_maps

    def fake(model, paths):
        seed = [int(1e6 * np.abs(model.get_weights()[0]).sum()), *map(hash, paths.tolist())]
        rows = np.random.default_rng(np.abs(seed)).normal(size=(len(paths), model.output.shape[-1]))
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)

    def landmarks(model, dataset, **_):
        calls.append("landmarks")
        return fake(model, dataset.queries), fake(model, dataset.database)

    def images(model, paths, name, **_):
        calls.append("images")
        return fake(model, paths)

    def maps(*args, **kwargs):
        calls.append("maps")
        return write_activation_maps(*args, **kwargs)

    monkeypatch.setattr(cached_descriptors, "extract_landmarks", landmarks)
    monkeypatch.setattr(cached_descriptors, "extract_images", images)
    monkeypatch.setattr(database_maps, "write_activation_maps", maps)
    return calls


@pytest.fixture
def without_pictures(monkeypatch):
    """They take longer than all the rest."""
    monkeypatch.setattr(retrieval_comparison, "draw_reranking", lambda *_, **__: None)
    monkeypatch.setattr(retrieval_comparison, "write_retrieval", lambda *_, **__: "")


@pytest.fixture
def without_charts(monkeypatch):
    """The table is written."""
    for name in ("retrieval_bars", "dimension_curves"):
        monkeypatch.setattr(f"keras_sare.evaluation.retrieval_files.{name}", lambda *_: None)


@pytest.fixture
def killed_before_writing(compare, models, described):
    with pytest.MonkeyPatch.context() as patch:

        def kill(*_, **__):
            raise Killed

        patch.setattr(retrieval_comparison, "draw_reranking", lambda *_, **__: None)
        patch.setattr(retrieval_comparison, "write_retrieval", kill)
        killed = compare()
        with pytest.raises(Killed):
            killed.compare(models)
    return killed


def maxima_of(comparison, models, monkeypatch):
    """Re-ranks, and returns what it knew of the queries."""
    seen = []
    original = retrieval_comparison.query_objects
    monkeypatch.setattr(retrieval_comparison, "query_objects", lambda *given: seen.append(original(*given)) or seen[-1])
    comparison.compare({"model": models["fine-tuned"]})
    return seen[0].maxima


def test_the_whole_line_is_one_table_with_pictures_and_nothing_else_is_left(whole_line, photos):
    comparison = whole_line.comparison
    text = whole_line.text
    whitened = "fine-tuned + Lw"
    assert comparison.bases == {
        "off the shelf + PCAw": "off the shelf",
        "off the shelf + Lw": "off the shelf",
        "fine-tuned": "off the shelf",
        "fine-tuned + PCAw": "fine-tuned",
        whitened: "fine-tuned",
        f"{whitened} + alpha-QE": whitened,
        f"{whitened} + diffusion": whitened,
        f"{whitened} + AML": whitened,
        f"{whitened} + AML + QE": f"{whitened} + AML",
    }
    assert list(comparison.rows) == ["off the shelf", *comparison.bases]
    for name in comparison.rows:
        assert f"\n| {name} | " in text
    gain = {
        name: 100 * (comparison.rows[name][p].mean_average_precision - comparison.rows[base][p].mean_average_precision)
        for p in photos[0].protocols[:1]
        for name, base in comparison.bases.items()
    }
    for name, base in comparison.bases.items():
        assert f" | {gain[name]:+.1f} to {base} |\n" in text
    assert sorted(path.name for path in whole_line.folder.iterdir()) == [
        "boxes.png",
        "retrieval.json",
        "retrieval.md",
        "retrieval.png",
        *(f"retrieval_dimensions_{protocol}.png" for protocol in ("easy", "hard", "medium")),
    ]
    with Image.open(whole_line.folder / "boxes.png") as picture:
        assert min(picture.size) > 300


def test_too_few_images_for_the_dimensions_show_as_dashes_and_as_a_reason(
    compare, models, described, without_charts, tmp_path
):
    comparison = compare(ComparisonSettings(longer_side=64, rerank=0, expand=0))
    text = comparison.compare(models)

    # 24 photos span 23 directions, the pairs of 6 groups of 4 photos 18, of which half are taken.
    assert comparison.notes == [
        f"{name} + {what}"
        for name in models
        for what in (
            "PCAw has 23 dimensions, not 24: 24 independent photos determine no more.",
            "Lw has 9 dimensions, not 24: 18 pairs of 24 photos determine no more.",
        )
    ]
    assert text.endswith("\n\n" + "\n".join(f"- {note}" for note in comparison.notes))
    assert {name: list(sweep) for name, sweep in comparison.sweeps.items()} == {
        "off the shelf + PCAw": [16],
        "off the shelf + Lw": [],
        "fine-tuned + PCAw": [16],
        "fine-tuned + Lw": [],
    }
    assert "| mAP | protocol | 16 | 32 | 64 | 128 | 256 | 512 |" in text
    assert "| fine-tuned + Lw | easy | – | – | – | – | – | – |" in text
    assert json.loads((tmp_path / "table" / "retrieval.json").read_text())["notes"] == comparison.notes


def test_rows_are_what_the_parts_give(whole_line, photos, tmp_path):
    landmarks, pairs, _ = photos
    comparison = whole_line.comparison
    models = whole_line.models
    options = {"longer_side": 64, "folder": tmp_path}
    sides = extract_landmarks(models["fine-tuned"], landmarks, **options)
    assert comparison.rows["fine-tuned"] == evaluate_protocols(*sides, landmarks)
    descriptors = extract_images(models["fine-tuned"], pairs.paths, "pairs", **options)
    whitening = fit_learned_whitening(descriptors, pairs.queries, pairs.positives, principal=9)
    expected = evaluate_protocols(*map(whitening.apply, sides), landmarks)
    assert comparison.rows["fine-tuned + Lw"] == expected
    assert comparison.rows["off the shelf"] != comparison.rows["fine-tuned"]


def test_models_alone_give_a_row_each(compare, models, described, tmp_path):
    comparison = compare(ComparisonSettings(64, rerank=0, expand=0), pairs=None, independent=None)
    text = comparison.compare(models)
    assert list(comparison.rows) == ["off the shelf", "fine-tuned"]
    assert not comparison.sweeps
    assert not comparison.notes
    assert len(text.splitlines()) == 6
    assert not list((tmp_path / "table").glob("*dimensions*"))


def test_queries_are_expanded_and_re_ranked_without_whitening_and_without_boxes_too(
    compare, models, photos, without_pictures
):
    data = photos[0]
    whole = LandmarkDataset("whole", data.database, data.queries, None, data.labels)
    comparison = compare(landmarks=whole, pairs=None, independent=None)
    comparison.compare({"model": models["fine-tuned"]})
    assert list(comparison.rows) == ["model", *(f"model + {x}" for x in ("alpha-QE", "diffusion", "AML", "AML + QE"))]


def test_killed_comparison_goes_on_with_what_it_had_described(
    compare, models, described, killed_before_writing, without_pictures, tmp_path
):
    assert described == 2 * ["landmarks", "images", "images"] + ["maps"]
    described.clear()
    again = compare()
    again.compare(models)
    assert not described
    assert again.rows == killed_before_writing.rows
    assert not (tmp_path / "table" / ".retrieval-arrays").exists()


def test_kill_while_describing_leaves_no_half_array(compare, models, described, monkeypatch):
    def killed(path, _):
        Path(path).write_bytes(b"half")
        raise Killed

    monkeypatch.setattr(np, "save", killed)
    comparison = compare()
    with pytest.raises(Killed):
        comparison.compare(models)
    assert [path.name for path in comparison.cache.folder.iterdir()] == ["lock"]


def test_settings_that_descriptors_do_not_depend_on_let_a_killed_comparison_go_on(
    compare, models, described, killed_before_writing, without_pictures
):
    described.clear()
    changed = {"rerank": 3, "expand": 1, "diffusion": None, "batch_size": 1, "memory_limit": 1e8}
    compare(dataclasses.replace(SETTINGS, **changed)).compare(models)
    # Other images are looked at again; no descriptor is computed anew.
    assert described == ["maps"]


def test_descriptors_of_other_settings_weights_boxes_or_photos_are_not_taken(
    compare, models, photos, described, killed_before_writing, without_pictures, monkeypatch
):
    monkeypatch.setattr(retrieval_comparison.ArrayCache, "clear", lambda _: None)
    landmarks, pairs, independent = photos
    settings = dataclasses.replace(SETTINGS, rerank=0)

    def needed(models=models, settings=settings, **changed):
        described.clear()
        compare(settings, **changed).compare(models)
        return described.count("landmarks"), described.count("images")

    assert needed() == (0, 0)
    assert needed(models={**models, "fine-tuned": small_model(3)}) == (1, 2)
    assert needed(settings=dataclasses.replace(settings, longer_side=48)) == (2, 4)
    assert needed(settings=dataclasses.replace(settings, orientation="stored")) == (2, 4)
    assert needed(settings=dataclasses.replace(settings, scales="multi")) == (2, 4)
    assert needed(settings=dataclasses.replace(settings, crop="activations")) == (2, 0)
    assert needed(landmarks=dataclasses.replace(landmarks, boxes=landmarks.boxes + 1)) == (2, 0)
    assert needed(landmarks=dataclasses.replace(landmarks, database=landmarks.database[::-1])) == (2, 0)
    fewer = MatchingPairs(pairs.paths[:12], pairs.queries[:9], pairs.positives[:9])
    assert needed(pairs=fewer, independent=independent[:20]) == (0, 4)
    assert needed() == (0, 0)


def test_in_no_memory_for_arrays_the_same_comes_out_of_memory_maps(
    compare, models, described, monkeypatch, without_pictures
):
    settings = dataclasses.replace(SETTINGS, rerank=0)
    expected = compare(settings)
    expected.compare(models)
    seen = []
    original = retrieval_comparison.evaluate_protocols
    monkeypatch.setattr(
        retrieval_comparison,
        "evaluate_protocols",
        lambda queries, database, *rest: seen.append(database) or original(queries, database, *rest),
    )
    tight = compare(dataclasses.replace(settings, memory_limit=1.0))
    tight.compare(models)
    assert tight.rows == expected.rows
    assert len(seen) == 7
    assert all(isinstance(one, np.memmap) for one in seen)


@pytest.mark.parametrize("crop", ["image", "activations", "none"])
def test_queries_are_cropped_for_re_ranking_as_for_their_descriptors(
    crop, compare, models, photos, described, without_pictures, monkeypatch
):
    settings = dataclasses.replace(SETTINGS, crop=crop, diffusion=None)
    maxima = maxima_of(compare(settings, pairs=None, independent=None), models, monkeypatch)

    pixels = np.stack([np.asarray(Image.open(path)) for path in photos[0].queries]).astype("float32")
    if crop == "image":
        pixels = pixels[:, 4:44, 4:60]
    model = models["fine-tuned"]
    activations = keras.Model(model.input, model.get_layer("conv").output)(pixels).numpy()
    if crop == "activations":  # Cells of 8 pixels, of which the box x 4..60, y 4..44 of 64 x 48 holds the centres.
        activations = activations[:, 0:5, 0:7]
    np.testing.assert_allclose(maxima, activations.max(axis=(1, 2)), rtol=1e-5)


def test_table_says_how_it_was_made(models, photos, described, without_charts, monkeypatch, tmp_path):
    monkeypatch.setattr(retrieval_comparison, "draw_reranking", lambda *_, **__: None)
    settings = dataclasses.replace(SETTINGS, crop="none", diffusion=None)
    text = RetrievalComparison(photos[0], None, None, settings, tmp_path / "table", "../run").compare(models)
    line = "dataset toy, longer_side 64, scales single, crop none, orientation upright, dimensions 512, rerank 6"
    assert f"\n\nSettings: {line}, expand 3, diffusion none, run ../run." in text
    stored = json.loads((tmp_path / "table" / "retrieval.json").read_text())["settings"]
    assert (stored["longer_side"], stored["diffusion"], stored["run"]) == (64, None, "../run")


def test_table_of_other_settings_is_not_replaced(compare, models, described, without_charts, tmp_path):
    settings = dataclasses.replace(SETTINGS, rerank=0)
    compare(settings).compare(models)
    before = (tmp_path / "table" / "retrieval.json").read_text()
    with pytest.raises(FileExistsError, match="other settings.*longer_side: 64 there, 48 now. Name another folder"):
        compare(dataclasses.replace(settings, longer_side=48))
    compare(dataclasses.replace(settings, batch_size=1)).compare(models)
    assert (tmp_path / "table" / "retrieval.json").read_text() == before


@pytest.mark.parametrize(("rerank", "done"), [(12, []), (3, ["landmarks"])])
def test_too_little_disk_for_re_ranking_is_told_as_early_as_it_is_known(
    rerank, done, compare, models, described, without_pictures, monkeypatch
):
    monkeypatch.setattr(database_maps, "free_bytes", lambda _: 24 * 6 * 8 * 3 - 1)  # Three maps need a byte more.
    settings = dataclasses.replace(SETTINGS, rerank=rerank, expand=0, diffusion=None)
    with pytest.raises(
        OSError, match="Re-ranking needs .* `rerank`.*finished descriptors stay cached. Received: rerank="
    ):
        compare(settings, pairs=None, independent=None).compare({"model": models["fine-tuned"]})
    assert described == done


def test_no_model_is_refused(compare):
    with pytest.raises(ValueError, match="`models` must hold at least one model"):
        compare().compare({})


def test_model_without_a_feature_map_to_re_rank_by_is_refused_before_anything_is_described(compare, models, described):
    images = keras.Input((None, None, 3))
    other = keras.Model(images, keras.layers.GlobalMaxPooling2D()(keras.layers.Conv2D(4, 8)(images)))
    with pytest.raises(ValueError, match="`model` must have a pooling layer"):
        compare().compare({**models, "other": other})
    assert not described


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"scales": "many"}, "`scales` must be one of single, multi, whitened. Received: scales='many'"),
        ({"crop": "box"}, "`crop` must be one of .* Received: crop='box'"),
        ({"rerank": -1}, "`rerank` must be at least 0. Received: rerank=-1"),
        ({"expand": -1}, "`expand` must be at least 0"),
        ({"dimensions": 0}, "`dimensions` must be at least 1"),
        ({"longer_side": 0}, "`longer_side` must be at least 1"),
        ({"batch_size": 0}, "`batch_size` must be at least 1"),
    ],
)
def test_settings_out_of_range_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        ComparisonSettings(**wrong)
