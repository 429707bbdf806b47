"""Makes a data set of a folder of photos: a list of places with splits and roles, and a map of it.

    python -m trainers.import_photos --root=my_photos
    python -m trainers.import_photos --root=my_photos --gpx=walk.gpx --clock_offset=+02:00
    python -m trainers.import_photos --root=my_photos --hold_out=monday,tuesday

Positions come from the photos' EXIF, from a GPX track, from mapillary_image_description.json, from names such as
@easting@northing@zone@letter@...@.jpg, or each folder is a place (--source=folders). The splits lie apart on the
ground, and queries are of other walks than the database where places were seen twice. Wrong positions are named and
left out. All that is wrong with the folder is said at once; the status is 1 where nothing could be written, else 0.
"""

import sys

from trainers.config import ImportConfig
from trainers.program import start_program


def run(config: ImportConfig) -> str:
    """Writes `places.csv`, `left_out.csv` (photos that are not listed, and why) and `places.png`, a map.

    Returns:
        What was printed: what was found, numbers of photos, and the next commands.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: a setting is wrong.
        OSError: the output cannot be written.
    """
    return _run(config)[0]


def _run(config: ImportConfig) -> tuple[str, bool]:
    from trainers.stages.places.photo_import import import_folder

    config.check()
    text, fails = import_folder(config)
    print(text)
    return text, fails


def _run_and_exit(config: ImportConfig) -> None:
    if _run(config)[1]:
        sys.exit(1)


if __name__ == "__main__":
    start_program("trainers.import_photos", __doc__, ImportConfig, _run_and_exit, "Interrupted. Start it again.")
