"""The versions in a model folder."""

import os
from pathlib import Path

import pytest

from serving.models.versions import find_versions, fingerprint


def test_versions_are_found_by_number(tmp_path: Path) -> None:
    for name in ("9", "10", "variables", str(2**63)):
        (tmp_path / name).mkdir()
    assert find_versions(tmp_path) == ({9: tmp_path / "9", 10: tmp_path / "10"}, [tmp_path / str(2**63)])


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"`folder` must be an existing folder.*Received: folder=.*nowhere"):
        find_versions(tmp_path / "nowhere")


def test_the_fingerprint_changes_with_names_sizes_times_and_the_manifest(tmp_path: Path) -> None:
    folder = tmp_path / "1"
    (folder / "variables").mkdir(parents=True)
    file = folder / "variables" / "data"
    changes = [
        lambda: file.write_bytes(b"a"),
        lambda: file.write_bytes(b"ab"),
        lambda: os.utime(file, ns=(0, 10**9)),
        lambda: (folder / "more").write_bytes(b""),
        lambda: (tmp_path / "1.json").write_text("{}"),
        lambda: file.unlink(),
    ]
    seen = [fingerprint(folder)]
    for change in changes:
        change()
        seen.append(fingerprint(folder))
    assert len(set(seen)) == len(seen)
    assert fingerprint(folder) == seen[-1]
