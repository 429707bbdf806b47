"""Every program, as users start it, with a path that is wrong."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NO_PROGRAMS = ("export.fidelity.runtime_process", "trainers.stages.ablation.measure_process", "export.localise")
"""Parts of other programs, and a script that goes to devices alone."""

WRONG = {
    "trainers.pitts": ["--root=nowhere", "--output=out"],
    "trainers.retrieval_sfm": ["--dataset=nowhere.npz", "--output=out"],
    "trainers.retrieval_table": ["--run=nowhere", "--ground_truth=nowhere", "--output=out"],
    "trainers.sfm": ["--images=nowhere", "--output=out"],
    "trainers.ablation": ["--root=nowhere", "--output=out"],
    "trainers.evaluate": ["--models=nowhere", "--root=nowhere", "--output=out"],
    "trainers.report": ["--evaluation=nowhere", "--output=out"],
    "trainers.runs": ["list", "nowhere"],
    "trainers.doctor": ["--root=nowhere", "--output=out"],
    "trainers.import_photos": ["--root=nowhere", "--output=out"],
    "trainers.extract": ["--model=nowhere.keras", "--photos=nowhere", "--output=out"],
    "trainers.demo": ["--data=nowhere", "--output=out"],
    "export": ["keras", "--run=nowhere", "--output=out"],
    "export.index": ["--model=nowhere.tflite", "--root=nowhere", "--output=out"],
    "serving": ["--model=nowhere"],
    "serving.client": ["nowhere.jpg", "--output=out.npy"],
    "serving.conformance": ["nowhere"],
    "serving.health": ["--tls", "--ca=nowhere.pem"],
    "serving.index": ["info", "nowhere"],
    "serving.locate": ["nowhere", "photo.jpg", "--model=model.keras"],
}


ALIKE = tuple(module for module in WRONG if module.startswith("trainers.") and module != "trainers.pitts")
"""Programs that `trainers.program.start_program` starts: it loads TensorFlow for them as for `trainers.pitts`. So they
run in copies of one process that has it already, and what most of them need, which takes a tenth of the time."""

COPIES = """
import os, runpy, sys
from keras_sare.utils.quiet_start import load_tensorflow
load_tensorflow()
import trainers.stages.places.stages, trainers.stages.retrieval.stages
slow = {{"sklearn", "scipy.stats", "matplotlib.pyplot"}}
assert not slow & sys.modules.keys(), "what no program needs at its start takes as long as TensorFlow"
statuses = []
for module, folder, *arguments in {runs}:
    child = os.fork()
    if not child:
        os.chdir(folder)
        for number, name in ((1, "stdout"), (2, "stderr")):
            os.dup2(os.open(f"{{folder}}.{{name}}", os.O_CREAT | os.O_WRONLY), number)
        sys.argv = [module, *arguments]
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        sys.exit()
    statuses.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print(*statuses)
"""


def programs():
    files = [path for package in ("trainers", "export", "serving") for path in (ROOT / package).rglob("*.py")]
    started = [path.relative_to(ROOT) for path in files if '__name__ == "__main__"' in path.read_text()]
    return {".".join(path.with_suffix("").parts).removesuffix(".__main__") for path in started}


def python(*arguments, folder, **environment):
    # Without the level that the tests run at.
    known = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    known["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=known | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def start(module, folder, **environment):
    return python("-m", module, *WRONG[module], folder=folder, **environment)


def start_alike(folders):
    """The programs that are `ALIKE`, by name."""
    runs = [[module, str(folders[module]), *WRONG[module]] for module in ALIKE]
    done = python("-c", COPIES.format(runs=runs), folder=ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    return {
        module: subprocess.CompletedProcess(
            [module],
            int(status),
            *(Path(f"{folders[module]}.{name}").read_text() for name in ("stdout", "stderr")),
        )
        for module, status in zip(ALIKE, done.stdout.split(), strict=True)
    }


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """How each program ended, and the folder that it ran in."""
    folders = {module: tmp_path_factory.mktemp(module) for module in WRONG}
    done = start_alike(folders)
    done |= {module: start(module, folders[module]) for module in WRONG if module not in ALIKE}
    return {module: (done[module], folders[module]) for module in WRONG}


def test_every_program_is_tried():
    assert programs() - set(NO_PROGRAMS) == WRONG.keys()


@pytest.mark.parametrize("module", ["trainers.pitts", *ALIKE])
def test_training_programs_are_started_alike(module):
    text = (ROOT / f"{module.replace('.', '/')}.py").read_text()
    assert f'start_program("{module}", ' in text.partition('if __name__ == "__main__":')[2]
    assert not re.search(r"^(import|from) (tensorflow|keras)", text, re.MULTILINE)


@pytest.mark.parametrize("module", WRONG)
def test_wrong_path_is_told_in_one_line_with_status_1_and_nothing_is_written(ended, module):
    done, folder = ended[module]
    assert done.returncode == 1
    assert done.stdout == ""
    line = done.stderr.rstrip("\n")
    assert "\n" not in line
    assert line.startswith(f"{module}: ")
    assert "nowhere" in line
    assert not list(folder.iterdir())


def test_who_asks_for_all_that_tensorflow_tells_sees_it(tmp_path):
    done = start("export.index", tmp_path, TF_CPP_MIN_LOG_LEVEL="0")
    assert "cpu_feature_guard" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("export.index: ")
