import pytest

from keras_sare.utils.files import atomic_path, remove_partials


def test_file_appears_when_the_block_ends(tmp_path):
    with atomic_path(tmp_path / "a" / "file.txt") as path:
        path.write_text("new")
        assert path.suffix == ".txt"
        assert not (tmp_path / "a" / "file.txt").exists()
    assert (tmp_path / "a" / "file.txt").read_text() == "new"
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["file.txt"]


def test_error_leaves_the_old_file_and_nothing_else(tmp_path):
    (tmp_path / "file").write_text("old")

    def fail() -> None:
        with atomic_path(tmp_path / "file") as path:
            path.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "old"


def test_folder_appears_whole_or_not_at_all(tmp_path):
    def make(fail):
        with atomic_path(tmp_path / "folder") as path:
            path.mkdir()
            (path / "part").write_text("1")
            if fail:
                raise RuntimeError

    with pytest.raises(RuntimeError):
        make(fail=True)
    assert list(tmp_path.iterdir()) == []
    make(fail=False)
    assert (tmp_path / "folder" / "part").exists()


def test_what_a_kill_left_is_removed_and_nothing_else(tmp_path):
    (tmp_path / "deep").mkdir()
    with atomic_path(tmp_path / "deep" / "kept.txt") as path:
        path.write_text("whole")
        left = path.with_name(path.name.replace("kept", "left"))
        left.write_text("half")
        (tmp_path / left.name).mkdir()
        (tmp_path / left.name / "part").write_text("half")
    remove_partials(tmp_path)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["deep", "kept.txt"]
    remove_partials(tmp_path / "missing")
