"""Extracts the descriptors of any number of photos into a place index, on this machine or on many.

    python -m trainers.extract --model=runs/pitts30k --photos=PHOTOS --output=map
    python -m trainers.extract --model=runs/pitts30k --photos=city.parquet --output=map --estimate
    python -m trainers.extract --model=exports/saved_model --photos='s3://city/{000..099}.tar' --output=map --engine=ray

PHOTOS is a folder of photos that say themselves where they were taken, a places.csv, a Parquet manifest, or WebDataset
tar files; docs/extract.md has the columns. Started again after a break, the same command goes on: a shard's photos
appear together or not at all, and none comes twice. `left_out.csv` names the photos that cannot be used, and why.
`python -m serving.index info map` and `python -m serving` take the result as it is.
"""

import logging

from trainers.config import ExtractConfig
from trainers.program import start_program

logger = logging.getLogger("keras_sare.extract")


def run(config: ExtractConfig) -> None:
    """Checks what can be known, says what the extraction costs, and does it.

    Args:
        config: `ExtractConfig(model="runs/pitts30k", photos="city.parquet", output="map")`, and what is to differ.

    Raises:
        FileNotFoundError: there is no such model or source.
        FileExistsError: the output is something else than an extraction.
        ImportError: an extra is not installed.
        ValueError: a setting is wrong, or too many photos cannot be used.
        OSError: the disk is too small, or something cannot be read or written.
    """
    from trainers.stages.extract.stages import extract

    config.check()
    extract(config, print)


if __name__ == "__main__":
    start_program("trainers.extract", __doc__, ExtractConfig, run, "Interrupted. The same command goes on from here.")
