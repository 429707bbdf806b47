"""Reconstructs 3D models of a photo collection: what `trainers.retrieval_sfm` takes its training tuples from.

    python -m trainers.sfm --images=FOLDER --output=runs/sfm

Needs pycolmap: pip install "keras-sare[sfm]". 130 photos of 750x1000 take 3 minutes on two processor cores. A killed
run goes on with the same command, and so does one with photos added: features and matches are kept, a mapping starts
over. Written to --output: `sfm.npz` (the dataset), `models.md` and `models.json` (the models in figures), `models.png`
(some photos of each), `above.png` (the largest seen from above), `unregistered.txt` (photos of no model),
`left_out.txt` (photos only of models that are left out because they overlap a larger one), and COLMAP's database and
models.
"""

import logging
from pathlib import Path

from trainers.config import SfMConfig
from trainers.program import start_program

logger = logging.getLogger("keras_sare.sfm")


def run(config: SfMConfig) -> None:
    """Runs the reconstruction.

    Raises:
        ImportError: pycolmap is not installed.
        ValueError: a setting is wrong, or too many photos cannot be read.
        OSError: the output cannot be written.
    """
    from trainers.stages.reconstruction import reconstruct_photos

    config.check()
    labels = Path(config.labels) if config.labels else None
    paths = Path(config.images), Path(config.output)
    print(reconstruct_photos(*paths, config.settings(), labels, config.max_corrupt_share))
    logger.info("Dataset, table and pictures: %s", config.output)


if __name__ == "__main__":
    kept = "Interrupted. The same command goes on: features and matches are kept, a mapping starts over."
    start_program("trainers.sfm", __doc__, SfMConfig, run, kept)
