import errno
import os
import subprocess
import sys

import pytest

from keras_sare.utils.files import atomic_path, free_bytes, lock, partials, remove_partials


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
    with atomic_path(tmp_path / "kept.txt") as path:
        path.write_text("whole")
        left = path.with_name(path.name.replace("kept", "left"))
        left.write_text("half")
        folder = path.with_name(path.name.replace("kept.txt", "folder"))
        folder.mkdir()
        (folder / "part").write_text("half")
        other = tmp_path / "deep" / path.name  # Perhaps another process is writing it.
        other.write_text("half")
    assert partials(tmp_path) == sorted([left, folder])
    assert partials(tmp_path, "*.txt") == [left]
    remove_partials(tmp_path)
    assert sorted(tmp_path.rglob("*")) == sorted([tmp_path / "deep", other, tmp_path / "kept.txt"])
    remove_partials(tmp_path / "missing")


def test_free_space_is_that_of_the_disk_where_a_folder_is_or_would_be(tmp_path):
    (tmp_path / "file").touch()
    disk = os.statvfs(tmp_path)
    for path in (tmp_path, tmp_path / "file", tmp_path / "missing" / "deeper"):
        assert free_bytes(path) == pytest.approx(disk.f_bavail * disk.f_frsize, rel=0.05)


HOLDS = """
import sys
from keras_sare.utils.files import lock
lock(sys.argv[1])
print("locked", flush=True)
sys.stdin.read()
"""


def test_a_locked_folder_keeps_others_out_until_the_process_ends(tmp_path):
    path = tmp_path / "new" / "run.lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(RuntimeError, match="Another process runs in .*/new'.* Wait until it ends, or name another"):
            lock(path)
        other.kill()
    lock(path)
    lock(path)
    second = subprocess.run([sys.executable, "-c", HOLDS, path], capture_output=True, text=True, input="")
    assert "RuntimeError: Another process runs in" in second.stderr


def test_a_file_system_without_locks_is_warned_of(tmp_path, monkeypatch, caplog):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.lockf", refuse)
    lock(tmp_path / "run.lock")
    assert f"Cannot lock {tmp_path / 'run.lock'} (No locks available)" in caplog.text
