"""`python -m serving.client`: what it prints, stores and goes on with."""

import csv
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import h5py
import numpy as np
import pyarrow.parquet
import pytest

from serving.client import EmbeddingClient, RequestSettings, outputs
from serving.client import __main__ as program
from serving.client.job import embed_to_file
from serving.client.photos import PhotoNames

ERRORS = ["", "broken", "", "", "missing", "", "broken", "", "", "", ""]
WELL = [number for number, error in enumerate(ERRORS) if not error]


@pytest.fixture
def damaged(photos: list[str]) -> list[str]:
    """The photos of which some are damaged and one is missing, in a list."""
    Path(photos[1]).write_bytes(b"damaged")
    Path(photos[4]).unlink()
    Path(photos[6]).write_bytes(b"damaged, too")
    return photos


@pytest.fixture
def listed(damaged: list[str], tmp_path: Path) -> str:
    (tmp_path / "list.txt").write_text("\n".join(damaged))
    return f"--list={tmp_path / 'list.txt'}"


def error_of(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What the command line ends with: one line, with exit status 1 and nothing else printed."""
    with pytest.raises(SystemExit) as ended:
        program.main(arguments)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert isinstance(ended.value.code, str)
    assert "\n" not in ended.value.code
    return ended.value.code


def test_without_an_output_a_table_is_printed(
    address: str, files: list[Path], embeddings: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no image")
    program.main(["--address", address, "--batch_size=2", *map(str, files), str(broken)])
    header, *lines, last = capsys.readouterr().out.splitlines()
    assert header.split() == ["photo", "dimension", "first", "values"]
    assert [line.split()[:2] for line in lines] == [[str(file), "3"] for file in files]
    assert lines[4].split()[2:] == [f"{value:.4f}" for value in embeddings[4]]
    assert last.startswith(str(broken))
    assert "no embedding: Unknown image file format" in last


def test_embeddings_become_an_array_with_names_and_errors_beside_it(
    scripted_address: str,
    scripted: Any,
    damaged: list[str],
    listed: str,
    contents: list[bytes],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = tmp_path / "new" / "embeddings.npy"
    arguments = ["--address", scripted_address, "--batch_size=3", f"--output={output}", listed]
    program.main(arguments)
    found = np.load(output)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, scripted.embeddings([contents[number] for number in WELL]))
    assert (tmp_path / "new" / "embeddings.txt").read_text().splitlines() == [damaged[number] for number in WELL]
    table = (tmp_path / "new" / "embeddings.errors.csv").read_text()
    assert list(csv.reader(table.splitlines())) == [
        ["path", "error"],
        *([damaged[i], error] for i, error in enumerate(ERRORS) if error),
    ]
    assert sorted(path.name for path in output.parent.iterdir()) == [
        "embeddings.errors.csv",
        "embeddings.npy",
        "embeddings.txt",
    ]
    text = f"8 embeddings of 3 dimensions in {output}; 3 photos have none, the reasons are in {output.parent}"
    assert capsys.readouterr().out.startswith(text)
    program.main([*arguments[:-1], damaged[0]])
    assert np.load(output).shape == (1, 3)
    assert not (tmp_path / "new" / "embeddings.errors.csv").exists()


def test_embeddings_become_a_parquet_file(
    scripted_address: str, scripted: Any, damaged: list[str], listed: str, contents: list[bytes], tmp_path: Path
) -> None:
    output = tmp_path / "embeddings.parquet"
    root = str(Path(damaged[0]).parent)
    program.main(["--address", scripted_address, f"--output={output}", listed, f"--root={root}"])
    table = pyarrow.parquet.read_table(output)
    assert table["path"].to_pylist() == [Path(path).name for path in damaged]
    assert table["error"].to_pylist() == [error or None for error in ERRORS]
    assert str(table.schema.field("embedding").type).startswith("fixed_size_list<")
    found = table["embedding"].to_pylist()
    assert [number for number, row in enumerate(found) if row is not None] == WELL
    np.testing.assert_array_equal(
        [found[number] for number in WELL], scripted.embeddings([contents[number] for number in WELL])
    )


def test_embeddings_become_what_hloc_reads(
    scripted_address: str, scripted: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    contents = {"db/1.jpg": b"one", "db/deep/2.png": b"two", "query/3.jpg": b"three", "query/4.jpg": b"damaged"}
    for name, content in contents.items():
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    output = tmp_path / "global.h5"
    program.main(["--address", scripted_address, f"--output={output}", str(tmp_path / "images")])
    found = {}
    with h5py.File(output) as file:
        # As hloc lists the names of a file, and reads one (hloc.utils.parsers, hloc.pairs_from_retrieval).
        file.visititems(
            lambda _, item: (
                found.update({item.parent.name.strip("/"): item[()]}) if isinstance(item, h5py.Dataset) else None
            )
        )
        np.testing.assert_array_equal(file["db/1.jpg"]["global_descriptor"], scripted.embeddings([b"one"])[0])
    assert list(found) == ["db/1.jpg", "db/deep/2.png", "query/3.jpg"]
    assert (tmp_path / "global.errors.csv").read_text().splitlines()[1].endswith("4.jpg,broken")


def test_a_photo_named_twice_is_once_in_an_hdf5_file(scripted_address: str, photos: list[str], tmp_path: Path) -> None:
    folder = Path(photos[0]).parent
    odd = f"{folder}/./../{folder.name}/00.jpg"
    program.main(["--address", scripted_address, f"--output={tmp_path / 'a.h5'}", str(folder), photos[0], odd])
    with h5py.File(tmp_path / "a.h5") as file:
        assert len(file[str(folder)]) == 11


def test_names_that_are_no_text_are_stored(scripted_address: str, tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path / "photos")
    os.mkdir(folder)
    for name in (b"\xff.jpg", b"\xfe.jpg"):
        with open(os.path.join(folder, name), "wb") as file:
            file.write(b"damaged" if name[0] == 0xFE else b"well")
    for suffix in ("npy", "parquet", "h5"):
        program.main(["--address", scripted_address, f"--output={tmp_path / 'out'}.{suffix}", os.fsdecode(folder)])
    assert (tmp_path / "out.txt").read_bytes().endswith(b"/\xff.jpg\n")
    assert (
        b"/\xfe.jpg,broken" in (tmp_path / "out.errors.csv").read_bytes()
        or b"\xfe.jpg,broken" in (tmp_path / "out.errors.csv").read_bytes()
    )
    paths = pyarrow.parquet.read_table(tmp_path / "out.parquet")["path"].to_pylist()
    assert [path[-8:] for path in paths] == ["\\xfe.jpg", "\\xff.jpg"]
    with h5py.File(tmp_path / "out.h5") as file:
        assert list(file) == ["\\xff.jpg"]


@pytest.mark.parametrize("signature", ["tolerant", "serving_default"])
def test_a_model_without_a_tolerant_signature_serves_as_well(
    scripted_address: str, scripted: Any, damaged: list[str], listed: str, tmp_path: Path, signature: str
) -> None:
    scripted.signatures = {signature: scripted.signatures[signature], "images": (["images"], ["embedding"])}
    program.main(["--address", scripted_address, f"--output={tmp_path / 'a.npy'}", listed])
    assert len(np.load(tmp_path / "a.npy")) == len(WELL)
    assert {spec.signature_name for spec in scripted.specs} == {signature}
    assert {spec.version.value for spec in scripted.specs} == {7}


RUN = """
import itertools, sys
from pathlib import Path
from serving.client import EmbeddingClient, RequestSettings
from serving.client.job import embed_to_file
from serving.client.photos import PhotoNames, find_photos

# By this clock a second has passed with each answer.
settings = RequestSettings(concurrency=1, version=7, clock=itertools.count().__next__)
with EmbeddingClient(sys.argv[1], settings=settings) as client, PhotoNames(find_photos([], [sys.argv[2]])) as names:
    embed_to_file(client, names, Path(sys.argv[3]), 2, "tolerant", None)
"""


@pytest.mark.parametrize("suffix", ["npy", "parquet", "h5"])
def test_a_run_that_was_killed_goes_on_and_ends_in_the_same_bytes(
    scripted_address: str, scripted: Any, listed: str, tmp_path: Path, suffix: str
) -> None:
    def command(output: Path) -> list[str]:
        return [sys.executable, "-c", RUN, scripted_address, listed.removeprefix("--list="), str(output)]

    whole = tmp_path / f"whole.{suffix}"
    subprocess.run(command(whole), check=True, timeout=60)
    asked = scripted.received[:]
    scripted.received.clear()
    broken = tmp_path / f"broken.{suffix}"
    with subprocess.Popen(command(broken)) as process:
        scripted.before = killing(process, after=4)
        assert process.wait(60) == -signal.SIGKILL
    assert not broken.exists()
    scripted.before = lambda *_: None
    scripted.received.clear()
    subprocess.run(command(broken), check=True, timeout=60)
    assert scripted.received == asked[-len(scripted.received) :]
    assert 0 < len(scripted.received) < len(asked) - 1
    assert contents_of(broken) == contents_of(whole)
    assert not list(tmp_path.glob("*.unfinished"))


def killing(process: "subprocess.Popen[bytes]", after: int) -> Callable[[Any, Any], None]:
    left = iter(range(after))

    def kill(*_: Any) -> None:
        if next(left, None) is None:
            process.kill()
            process.wait()

    return kill


def contents_of(output: Path) -> dict[str, bytes]:
    return {path.suffix: path.read_bytes() for path in output.parent.glob(f"{output.stem}.*")}


def test_what_was_answered_before_a_break_is_not_asked_for_again(
    scripted_address: str, scripted: Any, damaged: list[str], contents: list[bytes], tmp_path: Path
) -> None:
    output = tmp_path / "embeddings.npy"

    def run(**settings: Any) -> str:
        made = RequestSettings(concurrency=1, version=7, **settings)
        with EmbeddingClient(scripted_address, settings=made) as client, PhotoNames(damaged) as names:
            return embed_to_file(client, names, output, 2, "tolerant", None)

    scripted.refuse = lambda files: (grpc.StatusCode.INTERNAL, "no") if contents[7] in files else None
    with pytest.raises(RuntimeError, match="INTERNAL: no"):
        run()
    with pytest.raises(ValueError, match="holds a run that was broken off and had other max_bytes.*delete that folder"):
        run(max_bytes=1000)
    scripted.refuse = lambda _: None
    scripted.received.clear()
    run()
    assert scripted.received[0] == [b"damaged, too", contents[7]]
    np.testing.assert_array_equal(np.load(output), scripted.embeddings([contents[number] for number in WELL]))


def test_a_cut_journal_and_lost_files_are_no_obstacle(
    scripted_address: str, scripted: Any, photos: list[str], contents: list[bytes], tmp_path: Path
) -> None:
    arguments = [f"--address={scripted_address}", f"--output={tmp_path / 'a.npy'}", "--batch_size=2", *photos]
    folder = tmp_path / "a.npy.unfinished"
    for name, more in (
        ("journal.jsonl", b'{"done": 9'),
        ("embeddings.npy", None),
        ("embeddings.npy", b"beyond the journal"),
        ("journal.jsonl", None),
        ("errors.jsonl", b'{"photo": 10, "error": "beyond the journal"}\n'),
    ):
        scripted.refuse = lambda files: (grpc.StatusCode.INTERNAL, "no") if contents[7] in files else None
        with pytest.raises(SystemExit, match="INTERNAL: no"):
            program.main(arguments)
        found = (folder / name).read_bytes()
        (folder / name).unlink()
        if more is not None:
            (folder / name).write_bytes(found + more)
        scripted.refuse = lambda _: None
        program.main(arguments)
        np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), scripted.embeddings(contents))


def test_where_no_photo_can_be_embedded_the_program_fails_and_names_them(
    scripted_address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.jpg").write_bytes(b"damaged")
    output = tmp_path / "out.npy"
    line = error_of(["--address", scripted_address, f"--output={output}", str(tmp_path / "a.jpg")], capsys)
    assert line == "serving.client: `photos` must hold one that can be embedded. Received: none; of the first: broken"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jpg", "out.errors.csv"]


@pytest.mark.parametrize(
    "place", ["", "folder", "folder.npy", "a.txt", "file/below.npy", "file/deeper/below.npy", "locked/embeddings.npy"]
)
def test_an_output_that_cannot_be_written_is_told_of_before_anything_is_embedded(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder.npy").mkdir()
    (tmp_path / "file").write_text("kept")
    if place.startswith("locked"):
        monkeypatch.setattr(outputs, "check_writable_file", refuse_to_write)
    output = str(tmp_path / place) if place else ""
    # Nobody listens at this address: whoever embedded would get UNAVAILABLE.
    line = error_of(["--address", "127.0.0.1:1", "--output", output, str(files[0])], capsys)
    assert line.startswith("serving.client: `output` must be a file")
    assert f"Received: output={output!r}" in line
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder", "folder.npy"]
    assert (tmp_path / "file").read_text() == "kept"


def refuse_to_write(target: Path) -> None:
    raise PermissionError(f"{target} must be a folder that can be made and written: Permission denied")


@pytest.mark.parametrize(("model", "text"), [("other", "NOT_FOUND: "), ("keras_sare", "UNAVAILABLE: ")])
def test_an_output_that_is_there_stays_where_the_server_does_not_have_the_model(
    address: str, files: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], model: str, text: str
) -> None:
    output = tmp_path / "embeddings.npy"
    output.write_text("of an earlier run")
    target = address if model == "other" else "127.0.0.1:1"
    flags = ["--address", target, "--model", model, "--retries=0", "--output", str(output)]
    line = error_of([*flags, str(files[0])], capsys)
    assert line.startswith(f"serving.client: {text}")
    assert line.endswith(f"While looking for model {model}")
    assert [path.name for path in tmp_path.iterdir()] == ["embeddings.npy"]
    assert output.read_text() == "of an earlier run"


def test_a_model_that_takes_no_files_is_told_of(
    scripted_address: str, scripted: Any, photos: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    scripted.signatures = {"serving_default": (["images"], ["scores"])}
    line = error_of(["--address", scripted_address, photos[0]], capsys)
    assert "`model` must have a signature tolerant or serving_default from `image_bytes` to `embedding`" in line
    line = error_of(["--address", scripted_address, "--model_version=6", photos[0]], capsys)
    assert "`model_version` must be one of [7], which are available. Received: 6" in line


@pytest.mark.parametrize(
    "arguments",
    [
        "",
        "nowhere.jpg",
        "--batch_size=0 .",
        "--retries=-1 .",
        "--timeout=soon a",
        "--cert=a.pem .",
        "--token_file=no .",
    ],
)
def test_the_command_line_tells_of_each_error_in_one_line(arguments: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert error_of(["--address", "127.0.0.1:1", *arguments.split()], capsys).startswith("serving.client: ")


STARTED = """
import runpy, sys
sys.argv = ["serving.client", *sys.argv[1:]]
runpy.run_module("serving.client", run_name="__main__", alter_sys=True)
heavy = {"tensorflow", "keras", "tensorflow_serving", "pyarrow", "h5py", "absl", "scipy"} & sys.modules.keys()
assert not heavy, heavy
"""


def test_the_program_runs_without_tensorflow(
    address: str, files: list[Path], embeddings: np.ndarray, tmp_path: Path
) -> None:
    output = tmp_path / "embeddings.npy"
    command = [sys.executable, "-c", STARTED, f"--address={address}", f"--output={output}", *map(str, files)]
    subprocess.run(command, check=True, timeout=60)
    np.testing.assert_allclose(np.load(output), embeddings, atol=1e-6)
