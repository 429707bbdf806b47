import hashlib
import subprocess

import keras
import numpy as np

from keras_sare.utils.digests import content_digest, path_digest


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


def test_digest_of_content_is_that_of_its_text_and_of_its_elements_in_order():
    table = np.arange(6, dtype="float32").reshape(2, 3)
    expected = hashlib.sha256("größe\n".encode() + table.T.tobytes() + np.float16(2).tobytes() + b"end").hexdigest()
    assert content_digest(iter(["größe\n", table.T, np.zeros((0, 3)), np.array(2, "float16"), "end"])) == expected
    half = keras.ops.convert_to_numpy(keras.ops.cast(table, "bfloat16"))
    assert content_digest([half]) == hashlib.sha256(half.tobytes()).hexdigest()
