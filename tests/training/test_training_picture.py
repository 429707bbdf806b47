import pytest
from PIL import Image

from keras_sare.training.stage_timer import PARTS
from keras_sare.training.training_picture import draw_training

HISTORY = [
    {"epoch": epoch, "loss": "" if epoch == 0 else 1 / epoch, "recall@1": 0.4 + 0.1 * epoch, "recall@5": 0.8}
    | {f"seconds_{part}": 2.0 for part in PARTS}
    | {"seconds": 15.0}
    for epoch in range(3)
]


@pytest.fixture
def draw(tmp_path, monkeypatch):
    """Draws, and gives the picture's three parts."""

    def draw(history, best_epoch):
        drawn = {}
        monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda figure, *_, **__: drawn.update(figure=figure))
        with pytest.raises(FileNotFoundError):  # nothing was saved
            draw_training(tmp_path / "training.png", history, best_epoch)
        return drawn["figure"].axes

    return draw


def test_picture_shows_recall_loss_and_times(draw):
    recall, loss, seconds = draw(HISTORY, best_epoch=2)
    assert [line.get_label() for line in recall.lines] == [
        "recall@1: 40.0 %,\nkept 60.0 %",
        "recall@5: 80.0 %,\nkept 80.0 %",
        "kept: epoch 2",
    ]
    assert list(recall.lines[0].get_ydata()) == pytest.approx([40, 50, 60])
    assert recall.get_ylabel() == "queries found"
    assert list(loss.lines[0].get_xdata()) == [1, 2]
    assert [text.get_text() for text in seconds.get_legend().get_texts()] == [
        *(f"{part.replace('_', ' ')} 13 %" for part in PARTS),
        "other 7 %",
    ]
    assert max(bar.get_y() + bar.get_height() for bar in seconds.patches) == pytest.approx(15)


def test_picture_of_a_retrieval_run_shows_average_precision(draw):
    measured = {"mAP": 0.5, "mP@1": 0.9, "mP@5": 0.8, "mP@10": 0.7}
    history = [{k: v for k, v in row.items() if "recall" not in k} | measured for row in HISTORY]
    axes = draw(history, best_epoch=None)[0]
    assert [line.get_label() for line in axes.lines] == ["mAP: 50.0 %", "mP@1: 90.0 %", "mP@5: 80.0 %", "mP@10: 70.0 %"]
    assert len({line.get_color() for line in axes.lines}) == 4
    assert axes.get_ylabel() == "precision"


def test_model_before_training_that_is_kept_is_called_untrained(draw):
    assert draw(HISTORY, best_epoch=0)[0].lines[-1].get_label() == "kept: untrained (epoch 0)"


@pytest.mark.parametrize("epochs", [1, 3])
def test_picture_is_written_after_any_epoch(tmp_path, epochs):
    draw_training(tmp_path / "training.png", HISTORY[:epochs], best_epoch=0)
    with Image.open(tmp_path / "training.png") as picture:
        assert picture.width > 900
    assert [path.name for path in tmp_path.iterdir()] == ["training.png"]


def test_empty_history_is_refused(tmp_path):
    with pytest.raises(ValueError, match="`history` must have a row for at least one epoch"):
        draw_training(tmp_path / "training.png", [])
