import dataclasses
import itertools
import json
import runpy
from pathlib import Path

import numpy as np
import pytest
from matplotlib.text import Text
from PIL import Image

from export.fidelity.fidelity import Fidelity
from export.fidelity.picture import fidelity_figure
from export.fidelity.report import format_fidelity, write_fidelity

FIRST = runpy.run_path(str(Path(__file__).parents[2] / "data" / "fidelity_rows.py"))["KERAS"]


def row(artefact, kind, megabytes, cosine, recall, milliseconds, **changes):
    return dataclasses.replace(
        FIRST,
        artefact=artefact,
        kind=kind,
        bytes=round(megabytes * 1e6),
        cosine_min=cosine,
        cosine_median=(1 + cosine) / 2,
        recalls=(recall, 0.69, 0.78),
        latency_1=milliseconds / 1000,
        peak_memory=round(3 * megabytes * 1e6),
        **changes,
    )


ROWS = [
    FIRST,
    row("saved_model/1", "saved_model", 596.9, 0.9999999, 0.525, 318),
    row("tflite/float32.tflite", "tflite", 596.1, 0.9999991, 0.525, 288),
    row("tflite/float16.tflite", "tflite", 298.1, 0.99996, 0.525, 299),
    row("tflite/dynamic_int8.tflite", "tflite", 149.3, 0.959, 0.503, 157, latency_8=1.4),
    row("tflite/small.tflite (not written)", "tflite", 71.3, -0.02, 0.0, 187, latency_8=None, dim=1024),
    row("onnx/model.onnx", "onnx", 596.2, 0.99999, 0.525, 1250, latency_8=16.0),
]
WITHOUT_RECALL = [dataclasses.replace(one, ns=(), recalls=(), keras_recalls=()) for one in ROWS]


def cells(text, line):
    return [cell.strip() for cell in text.splitlines()[line].strip("|").split("|")]


def test_table_holds_every_figure_beside_that_of_the_keras_model():
    text = format_fidelity(ROWS)
    table = [dict(zip(cells(text, 0), cells(text, line), strict=False)) for line in range(2, 9)]
    assert cells(text, 0)[:9] == [
        "artefact", "dim", "MB", "of Keras", "cosine min", "median", "recall@1", "recall@5", "recall@10"
    ]  # fmt: skip
    assert cells(text, 2) == [
        "Keras model", "4096", "596.3", "100.0 %", "1.000000", "1.000000", "0.525", "0.700", "0.780", "0.00",
        "320.0", "1.00", "2400.0", "1.00", "1890",
    ]  # fmt: skip
    assert cells(text, 6) == [
        "tflite/dynamic_int8.tflite", "4096", "149.3", "25.0 %", "0.959000", "0.979500", "0.503", "0.690", "0.780",
        "2.20", "157.0", "0.49", "1400.0", "0.58", "448",
    ]  # fmt: skip
    assert cells(text, 7)[1] == "1024"
    assert cells(text, 7)[-3:] == ["–", "–", "214"]
    assert [one["drop, points"] for one in table] == ["0.00", "0.00", "0.00", "0.00", "2.20", "52.50", "0.00"]
    assert "town_test, 308 database images and 286 queries, 25 m" in text
    assert "216 x 384 pixels, 2 CPU threads" in text


def test_table_without_places_has_no_recall():
    text = format_fidelity(WITHOUT_RECALL)
    assert "recall" not in text.lower()
    assert {len(cells(text, line)) for line in range(9)} == {11}


def test_three_files_are_written(tmp_path):
    text = write_fidelity(tmp_path / "exports", ROWS)
    folder = tmp_path / "exports"
    assert sorted(path.name for path in folder.iterdir()) == ["fidelity.json", "fidelity.md", "fidelity.png"]
    assert (folder / "fidelity.md").read_text() == text + "\n"
    rows = json.loads((folder / "fidelity.json").read_text())["rows"]
    assert [Fidelity.from_json(json.dumps(one)) for one in rows] == ROWS
    with Image.open(folder / "fidelity.png") as picture:
        assert picture.width > 2000
        assert len(np.unique(np.asarray(picture.convert("RGB")).reshape(-1, 3), axis=0)) > 10


@pytest.mark.parametrize("rows", [ROWS, WITHOUT_RECALL, ROWS[:1], ROWS[:2]])
def test_labels_of_the_picture_neither_overlap_nor_leave_it(rows):
    figure = fidelity_figure(rows)
    figure.draw_without_rendering()
    texts = [text for axes in figure.axes for text in (*axes.texts, *axes.get_xticklabels())]
    # Their objects have no public name.
    titles = {figure.get_suptitle(), *(axes.get_title(loc="left") for axes in figure.axes)}
    texts += [*figure.axes[0].get_yticklabels(), *(text for text in figure.findobj(Text) if text.get_text() in titles)]
    boxes = {text: text.get_window_extent() for text in texts if text.get_text()}
    assert len(boxes) > 8
    assert not any("e+" in text.get_text() for text in boxes)
    for text, box in boxes.items():
        assert box.x0 >= 0, text
        assert box.x1 <= figure.bbox.x1, text
        assert box.y0 >= 0, text
        assert box.y1 <= figure.bbox.y1, text
    overlapping = [(a, b) for a, b in itertools.combinations(boxes, 2) if boxes[a].overlaps(boxes[b])]
    assert overlapping == []


def test_report_without_rows_is_refused(tmp_path):
    with pytest.raises(ValueError, match="`rows` must hold at least the row of the Keras model. Received: none"):
        write_fidelity(tmp_path, [])
    assert list(tmp_path.iterdir()) == []


def test_rows_of_other_photos_are_refused(tmp_path):
    with pytest.raises(ValueError, match="must have been measured on the same photos.*data='others'"):
        write_fidelity(tmp_path, [FIRST, dataclasses.replace(ROWS[1], data="others")])
    assert list(tmp_path.iterdir()) == []
