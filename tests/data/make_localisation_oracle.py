"""Makes localisation_oracle.npz: boxes that the authors' code finds in seeded maps, which the tests compare with ours.

The code is aml.c of https://github.com/gtolias/rmac, a MATLAB extension in C. It is compiled here without MATLAB, so a
C compiler is needed:

    python tests/data/make_localisation_oracle.py --originals FOLDER

FOLDER holds the checkout rmac. What it writes, a row for each case of localisation_cases.py:

* `grid`, `refined`: y1, x1, y2, x2, the last two beyond the box, of the best box of the grid and after refinement, and
  `grid_scores`, `refined_scores`: with `find_nearest`, which rounds 10th roots to whole levels, replaced by the root;
* `rounded`, `rounded_scores`: after refinement, with the code as it is.
"""

import argparse
import ctypes
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from localisation_cases import CASES, case

MATLAB = """
#include <stdlib.h>
typedef int mxArray;
#define mexErrMsgTxt(text)
#define mxGetDimensions(array) NULL
#define mxGetPr(array) NULL
#define mxGetScalar(array) 0
#define mxCreateNumericMatrix(rows, columns, type, complexity) NULL
"""
"""In place of MATLAB, for the entry point, which is compiled but never called."""
ROUNDED = "(double)find_nearest (v)"
EXACT = "pow(v, 0.1)"
STEP = 3
TOLERANCE = 1.1
ROUNDS = 5


class Box(ctypes.Structure):
    """Rows i and columns j of a box, from 1, the last ones in it."""

    _fields_ = [(name, ctypes.c_int) for name in ("i1", "i2", "j1", "j2")]


class ScoredBox(ctypes.Structure):
    """A box and its score."""

    _fields_ = [("score", ctypes.c_double), ("box", Box)]

    def row(self) -> list[int]:
        """y1, x1, y2, x2, from 0, the last two beyond the box."""
        return [self.box.i1 - 1, self.box.j1 - 1, self.box.i2, self.box.j2]


def compiled(source: str, folder: str) -> ctypes.CDLL:
    """The functions of aml.c."""
    Path(folder, "mex.h").write_text(MATLAB)
    Path(folder, "aml.c").write_text(source)
    library = Path(folder, "aml.so")
    options = ["-O2", "-w", "-shared", "-fPIC", "-I", folder]
    subprocess.run(["cc", *options, str(Path(folder, "aml.c")), "-o", str(library), "-lm"], check=True)
    functions = ctypes.CDLL(str(library))
    functions.create_integralimage.restype = ctypes.POINTER(ctypes.c_double)
    functions.max_score.restype = functions.box_refine.restype = ScoredBox
    return functions


def localise(functions: ctypes.CDLL, index: int) -> tuple[ScoredBox, ScoredBox]:
    """The best box of the grid and the refined one."""
    levels, query, aspect = case(index)
    query = query / np.linalg.norm(query)
    height, width, channels = levels.shape
    columns = np.asfortranarray(levels.astype(np.float64))
    doubles = ctypes.POINTER(ctypes.c_double)
    integers = ctypes.c_int * 3
    sums = functions.create_integralimage(columns.ctypes.data_as(doubles), integers(height, width, channels), 10)
    sizes = integers(channels, height + 1, width + 1)
    count = ctypes.byref(ctypes.c_int())
    vector = query.ctypes.data_as(doubles)
    tolerances = ctypes.c_double(aspect), ctypes.c_double(TOLERANCE)
    grid = functions.max_score(sums, sizes, 10, vector, *tolerances, STEP, count)
    return grid, functions.box_refine(sums, sizes, 10, vector, grid, STEP, ROUNDS, count)


def main() -> None:
    """Writes localisation_oracle.npz beside this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--originals", type=Path, required=True)
    source = (parser.parse_args().originals / "rmac" / "aml.c").read_text()
    if source.count(ROUNDED) != 1:
        raise ValueError(f"aml.c must hold {ROUNDED!r} once. Received: another version of it")
    found = {}
    for name, text in (("exact", source.replace(ROUNDED, EXACT)), ("rounded", source)):
        with tempfile.TemporaryDirectory() as folder:
            functions = compiled(text, folder)
            found[name] = [localise(functions, index) for index in range(CASES)]
    grid, refined = zip(*found["exact"], strict=True)
    rounded = [both[1] for both in found["rounded"]]
    arrays = {"grid": grid, "refined": refined, "rounded": rounded}
    boxes = {name: np.array([one.row() for one in rows], np.int16) for name, rows in arrays.items()}
    scores = {f"{name}_scores": np.array([one.score for one in rows]) for name, rows in arrays.items()}
    np.savez_compressed(Path(__file__).with_name("localisation_oracle.npz"), **boxes, **scores)


if __name__ == "__main__":
    main()
