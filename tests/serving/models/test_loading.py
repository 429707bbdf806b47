"""A version as it is loaded."""

from collections.abc import Callable
from pathlib import Path

import pytest

from serving.models import loading
from serving.models.loading import load_version


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "variables" / "more").write_bytes(b""),
        lambda folder: folder.with_suffix(".json").write_text("{}"),
        lambda folder: (folder / "variables" / "variables.index").unlink(),
    ],
)
def test_a_folder_that_changes_while_it_is_loaded_is_refused(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], object]
) -> None:
    folder = tmp_path / "7"
    (folder / "variables").mkdir(parents=True)
    for file in ("saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"):
        (folder / file).symlink_to(model_folder / "7" / file)
    assert load_version(folder, 7).version == 7
    monkeypatch.setattr(loading, "replay_warmup", lambda *_: change(folder))
    with pytest.raises(ValueError, match=r"`folder` must not change while it is loaded. Received: folder=.*7$"):
        load_version(folder, 7)
