import errno
import os
import subprocess
import sys

import pytest

from keras_sare.utils.files import (
    atomic_path,
    check_writable_file,
    check_writable_folder,
    free_bytes,
    is_locked,
    lock,
    partials,
    remove_partials,
    same_disk,
)


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


@pytest.fixture
def disk(monkeypatch):
    """Names in the order in which they reach the disk; a rename is a pair of old and new."""
    events = []
    fsync = os.fsync
    replace = os.replace

    def settled(descriptor):
        events.append(os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")))
        fsync(descriptor)

    def renamed(old, new):
        events.append((os.path.basename(old), os.path.basename(new)))
        replace(old, new)

    monkeypatch.setattr(os, "fsync", settled)
    monkeypatch.setattr(os, "replace", renamed)
    return events


def test_a_file_is_on_the_disk_before_it_gets_its_name_and_the_name_follows(tmp_path, disk):
    (tmp_path / "a").mkdir()
    with atomic_path(tmp_path / "a" / "file.txt") as path:
        path.write_text("new")
    assert disk == [path.name, (path.name, "file.txt"), "a"]


def test_all_of_a_folder_is_on_the_disk_before_it_gets_its_name(tmp_path, disk):
    (tmp_path / "a").mkdir()
    with atomic_path(tmp_path / "a" / "folder") as path:
        (path / "deep" / "empty").mkdir(parents=True)
        for name in ("one", "deep/two", "deep/three"):
            (path / name).write_text(name)
        (path / "link").symlink_to("nowhere")
    assert disk[-2:] == [(path.name, "folder"), "a"]
    assert sorted(disk[:3]) == ["one", "three", "two"]
    assert sorted(disk[3:-2]) == sorted([path.name, "deep", "empty"])


@pytest.mark.parametrize("folder", [False, True])
def test_a_disk_that_fails_at_the_last_moment_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, folder):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    def write():
        with atomic_path(tmp_path / "target") as path:
            if folder:
                path.mkdir()
            (path / "part" if folder else path).write_text("new")

    (tmp_path / "target").write_text("old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write()
    assert [p.name for p in tmp_path.iterdir()] == ["target"]
    assert (tmp_path / "target").read_text() == "old"


def test_a_file_system_that_settles_no_folders_is_no_error(tmp_path, monkeypatch):
    fsync = os.fsync

    def files_alone(descriptor):
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.EINVAL, "Invalid argument")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", files_alone)
    with atomic_path(tmp_path / "folder") as path:
        path.mkdir()
        (path / "part").write_text("1")
    assert (tmp_path / "folder" / "part").read_text() == "1"


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
        assert is_locked(path)
        other.kill()
    assert not is_locked(path)
    assert not is_locked(path.with_name("none.lock"))
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


@pytest.mark.parametrize("name", ["", "new", "new/deeper"])
def test_folder_that_can_be_written_is_left_as_it_was(tmp_path, name):
    check_writable_folder(tmp_path / name)
    check_writable_file(tmp_path / name / "file.txt")
    assert not list(tmp_path.iterdir())


def test_place_that_cannot_be_written_is_told_in_one_line(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    check_writable_file(tmp_path / "file")  # It is replaced.
    for folder in (tmp_path / "file", tmp_path / "file" / "deeper", "/proc/nowhere"):
        with pytest.raises(OSError, match=f"^{str(folder)!r} must be a folder that can be made and written: .*another"):
            check_writable_folder(folder)
    with pytest.raises(IsADirectoryError, match="folder' must be a file to write, and is a folder. Name another."):
        check_writable_file(tmp_path / "folder")


def test_disk_is_that_of_the_nearest_folder_that_is_there(tmp_path):
    assert same_disk(tmp_path / "new" / "deeper", tmp_path, tmp_path / "other")
    assert not same_disk(tmp_path, "/proc/nowhere")
