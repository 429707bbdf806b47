import json

import keras
import numpy as np
import pytest
from PIL import Image

from keras_sare.evaluation.plots.retrieval_plots import dimension_curves, retrieval_bars
from keras_sare.evaluation.retrieval_files import check_same_settings, format_sweeps, read_retrieval, write_retrieval
from keras_sare.evaluation.retrieval_report import RetrievalReport


def reports(value):
    """One method under two protocols."""
    return {
        protocol: RetrievalReport("toy", protocol, 8, 0, 40, factor * value, (1, 10), (0.5, 0.25))
        for protocol, factor in (("easy", 1.0), ("hard", 0.5))
    }


METHODS = {"off the shelf": reports(0.5), "trained": reports(0.75)}
SWEEPS = {"PCAw": {16: reports(0.25), 32: reports(0.5)}, "Lw": {16: reports(0.375), 32: reports(0.75)}}


def picture(path):
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB")).astype(int)


def drawn_in(pixels, colour):
    """Number of pixels of a colour like #D55E00."""
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return int((np.abs(pixels - wanted).max(axis=-1) < 8).sum())


def test_reports_are_written_as_json_table_and_picture(tmp_path):
    table = write_retrieval(tmp_path, METHODS)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["retrieval.json", "retrieval.md", "retrieval.png"]
    assert (tmp_path / "retrieval.md").read_text() == table + "\n"
    assert "| trained | 75.0 (+25.0) | 37.5 (+12.5) | 25.0 | 25.0 |" in table
    stored = json.loads((tmp_path / "retrieval.json").read_text())
    assert RetrievalReport.from_json(json.dumps(stored["reports"]["trained"]["hard"])) == METHODS["trained"]["hard"]
    assert read_retrieval(tmp_path / "retrieval.json") == METHODS
    assert stored["environment"]["keras"] == keras.__version__


def test_sweeps_add_a_table_and_a_picture_for_each_protocol(tmp_path):
    text = write_retrieval(tmp_path, METHODS, SWEEPS)

    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "retrieval.json",
        "retrieval.md",
        "retrieval.png",
        "retrieval_dimensions_easy.png",
        "retrieval_dimensions_hard.png",
    ]
    assert text.endswith(format_sweeps(SWEEPS))
    stored = json.loads((tmp_path / "retrieval.json").read_text())
    assert stored["sweeps"]["Lw"]["16"]["easy"]["mean_average_precision"] == 0.375


def test_what_builds_on_what_and_notes_are_written_too(tmp_path):
    text = write_retrieval(tmp_path, METHODS, bases={"trained": "off the shelf"}, notes=("Few photos.", "Few pairs."))

    assert "| +25.0 to off the shelf |" in text
    assert text.endswith("|\n\n- Few photos.\n- Few pairs.")
    stored = json.loads((tmp_path / "retrieval.json").read_text())
    assert (stored["bases"], stored["notes"]) == ({"trained": "off the shelf"}, ["Few photos.", "Few pairs."])


def test_a_method_that_reaches_none_of_the_numbers_has_dashes_and_no_curve(tmp_path):
    text = write_retrieval(tmp_path, METHODS, {**SWEEPS, "few": {}})

    assert "| few | easy | – | – |" in text
    assert (tmp_path / "retrieval_dimensions_easy.png").is_file()


def test_sweeps_without_a_point_are_left_out(tmp_path):
    assert write_retrieval(tmp_path, METHODS, {"few": {}}) == write_retrieval(tmp_path, METHODS)
    assert len(list(tmp_path.iterdir())) == 3


def test_a_table_of_sweeps_has_a_column_for_each_dimension():
    assert format_sweeps({"PCAw": {16: reports(0.25), 32: reports(0.5)}, "Lw": {32: reports(0.75)}}).splitlines() == [
        "| mAP | protocol | 16 | 32 |",
        "| --- | --- | ---: | ---: |",
        "| PCAw | easy | 25.0 | 50.0 |",
        "| Lw | easy | – | 75.0 |",
        "| PCAw | hard | 12.5 | 25.0 |",
        "| Lw | hard | – | 37.5 |",
    ]


def test_a_number_of_components_that_no_method_reaches_has_a_column_where_it_is_asked_for():
    heading, _, first, *_ = format_sweeps({"Lw": {16: reports(0.25)}}, (8, 16, 32)).splitlines()
    assert heading == "| mAP | protocol | 8 | 16 | 32 |"
    assert first == "| Lw | easy | – | 25.0 | – |"


def test_sweeps_that_were_not_measured_alike_are_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match="`reports` must come from the same dataset and protocols"):
        write_retrieval(tmp_path, METHODS, {"PCAw": {16: reports(0.5), 32: {"easy": reports(0.5)["easy"]}}})

    assert not list(tmp_path.iterdir())


def test_each_curve_is_drawn_in_its_colour(tmp_path):
    curves = {"PCAw": {16: 0.2, 64: 0.4, 512: 0.5}, "Lw": {16: 0.3, 64: 0.5}}

    dimension_curves(tmp_path / "curves.png", curves, "toy, hard")

    pixels = picture(tmp_path / "curves.png")
    assert drawn_in(pixels, "#D55E00") > 500
    assert drawn_in(pixels, "#0072B2") > 500
    assert drawn_in(pixels, "#009E73") == 0


def test_a_longer_bar_stands_for_a_higher_map(tmp_path):
    retrieval_bars(tmp_path / "bars.png", {"low": reports(0.2), "high": reports(0.8)})

    pixels = picture(tmp_path / "bars.png")
    assert drawn_in(pixels, "#0072B2") == pytest.approx(4 * drawn_in(pixels, "#D55E00"), rel=0.1)


@pytest.mark.parametrize("curves", [{}, {"PCAw": {}}])
def test_a_picture_of_no_curve_is_refused(tmp_path, curves):
    with pytest.raises(ValueError, match="`curves` must hold at least one line"):
        dimension_curves(tmp_path / "curves.png", curves)


def test_bars_of_nothing_are_refused(tmp_path):
    with pytest.raises(ValueError, match="`reports` must hold a report"):
        retrieval_bars(tmp_path / "bars.png", {})


def test_results_of_other_settings_are_not_to_be_replaced(tmp_path):
    settings = {"longer_side": 1024, "diffusion": None, "scales": "multi"}
    check_same_settings(tmp_path, settings)
    (tmp_path / "retrieval.json").write_text(json.dumps({"settings": settings}))
    check_same_settings(tmp_path, settings)
    with pytest.raises(FileExistsError, match="with diffusion: None there, {'k': 50} now. Name another folder"):
        check_same_settings(tmp_path, {**settings, "diffusion": {"k": 50}})
    for other in ("[]", "{}", "no JSON", '{"settings": null}'):
        (tmp_path / "retrieval.json").write_text(other)
        with pytest.raises(FileExistsError, match="scales: None there, multi now"):
            check_same_settings(tmp_path, settings)
