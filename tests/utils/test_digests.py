import hashlib
import subprocess

from keras_sare.utils.digests import path_digest


def test_digest_of_a_folder_is_that_of_its_sorted_files_as_shell_tools_tell_it(tmp_path):
    folder = tmp_path / "1"
    (folder / "variables").mkdir(parents=True)
    for name in ("variables/variables.index", "variables/variables.data", "saved_model.pb", "variables-note"):
        (folder / name).write_text(name)
    command = "find . -type f -printf '%P\\n' | LC_ALL=C sort | xargs sha256sum | sha256sum"
    told = subprocess.run(command, shell=True, cwd=folder, capture_output=True, text=True, check=True).stdout
    assert path_digest(folder) == told.split()[0]
    (folder / "saved_model.pb").rename(folder / "other.pb")
    assert path_digest(folder) != told.split()[0]


def test_digest_of_a_file_is_that_of_its_bytes(tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    assert path_digest(tmp_path / "file") == hashlib.sha256(b"abc").hexdigest()
