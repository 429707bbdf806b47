"""Small copies of real photos with positions, each broken in one way that people break their data in.

    python tests/data/broken_copies.py DATA FOLDER --places=100

DATA is the folder msls_london of the photos that KERAS_SARE_DATA names. Runs the doctor on each copy, and says which
faults it names, which it misses, and what it finds beside them.
"""

import argparse
import csv
import json
import shutil
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat
from scipy.spatial import cKDTree

from keras_sare.datasets.places.transverse_mercator import in_next_zone

SPLITS = ("train", "val", "test")
APART = 150.0
"""Metres between places, so that a query that is moved comes to no other."""


def choose(data, places):
    """Picks rows of places.csv: of each split some places far apart, with a query and the database image next to it."""
    rows = list(csv.DictReader((data / "places.csv").read_text().splitlines()))
    chosen = []
    for split in SPLITS:
        sides = {role: [row for row in rows if (row["role"], row["split"]) == (role, split)] for role in ROLES}
        positions = {role: np.array([position(row) for row in side]) for role, side in sides.items()}
        distances, nearest = cKDTree(positions["database"]).query(positions["query"])
        kept = []
        for query in np.flatnonzero(distances < 8):
            others = positions["query"][kept]
            if len(kept) < places and not (np.linalg.norm(others - positions["query"][query], axis=1) < APART).any():
                kept.append(query)
        for query in kept:
            chosen += [sides["database"][nearest[query]], sides["query"][query]]
    return [{name: row[name] for name in ("image", "role", "split", "easting", "northing")} for row in chosen]


ROLES = ("database", "query")


def position(row):
    return float(row["easting"]), float(row["northing"])


def copy(data, listed, root):
    """Copies photos, with their times, and lists them."""
    for row in listed:
        (root / row["image"]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(data / row["image"], root / row["image"])
    write(root, listed)


def write(root, listed):
    with (root / "places.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(listed[0]))
        writer.writeheader()
        writer.writerows(listed)


def of(listed, role, split="test"):
    return [row for row in listed if (row["role"], row["split"]) == (role, split)]


def photo(root, listed, role, split="test", number=0):
    return root / of(listed, role, split)[number]["image"]


def move(listed, function):
    """Gives rows other positions: `function` takes float [N, 2] and returns such."""
    moved = function(np.array([position(row) for row in listed]))
    for row, (easting, northing) in zip(listed, moved.tolist(), strict=True):
        row.update(easting=easting, northing=northing)


def sound(root, listed):
    pass


def missing(root, listed):
    photo(root, listed, "database", "train").unlink()


def cut_short(root, listed):
    path = photo(root, listed, "query")
    path.write_bytes(path.read_bytes()[:-2000])


def empty_file(root, listed):
    photo(root, listed, "query").write_bytes(b"")
    photo(root, listed, "database").write_bytes(b"")


def web_page(root, listed):
    photo(root, listed, "query").write_text("<html>404 Not Found</html>")


def copied_to_queries(root, listed):
    shutil.copy(photo(root, listed, "database"), photo(root, listed, "query"))


def copied_in_the_database(root, listed):
    shutil.copy(photo(root, listed, "database"), photo(root, listed, "database", number=1))


def copied_to_another_split(root, listed):
    shutil.copy(photo(root, listed, "database", "train"), photo(root, listed, "query"))


def compressed_anew(root, listed):
    with Image.open(photo(root, listed, "database")) as picture:
        picture.save(photo(root, listed, "query"), quality=40)


def resized(root, listed):
    with Image.open(photo(root, listed, "database", "train")) as picture:
        picture.resize((picture.width // 2, picture.height // 2)).save(photo(root, listed, "query"), quality=85)


def stored_twice(root, listed):
    with Image.open(photo(root, listed, "database")) as picture:
        picture.save(photo(root, listed, "database", number=1), quality=90)


def turned(root, listed):
    path = photo(root, listed, "query")
    with Image.open(path) as picture:
        noted = picture.getexif()
        noted[0x112] = 6
        picture.transpose(Image.Transpose.ROTATE_90).save(path, exif=noted, quality=95)


def swapped(root, listed):
    move(of(listed, "query"), lambda positions: positions[:, ::-1])


def swapped_in_the_database(root, listed):
    move(of(listed, "database", "train"), lambda positions: positions[:, ::-1])


def as_degrees(positions):
    return np.stack([51.5 + (positions[:, 1] - 5709000) / 111250, (positions[:, 0] - 708000) / 69400], axis=1)


def degrees(root, listed):
    move(listed, as_degrees)


def degrees_of_queries(root, listed):
    move(of(listed, "query"), as_degrees)


def other_zone(root, listed):
    move(of(listed, "query"), lambda positions: in_next_zone(positions, 1))


def exchanged(root, listed):
    move(listed, as_degrees)
    move(of(listed, "query"), lambda positions: positions[:, ::-1])
    for row in listed:
        row["lat"] = row.pop("easting")
        row["lon"] = row.pop("northing")


def small_radius(root, listed):
    move(of(listed, "query"), lambda positions: positions + [0, 60])


def far(root, listed):
    move(of(listed, "query")[:1], lambda positions: positions + [0, 90_000])


def overlapping(root, listed):
    towards = np.subtract(position(of(listed, "database", "train")[0]), position(of(listed, "database", "val")[0]))
    move([row for row in listed if row["split"] == "val"], lambda positions: positions + towards)


def in_matlab(root, listed, timestamps=False):
    """Lists the photos as NetVLAD's dbStruct files do, and TokyoTM's of one day where there are timestamps."""
    (root / "places.csv").unlink(missing_ok=True)
    (root / "datasets").mkdir()
    for split in SPLITS:
        database, queries = (of(listed, role, split) for role in ROLES)
        names = [np.array([row["image"] for row in side], object)[:, None] for side in (database, queries)]
        utm = [np.array([position(row) for row in side]).T for side in (database, queries)]
        listing = {"dbImageFns": names[0], "utmDb": utm[0], "qImageFns": names[1], "utmQ": utm[1]}
        if timestamps:
            listing |= {"dbTimeStamp": np.ones(len(database)), "qTimeStamp": np.ones(len(queries))}
        savemat(root / "datasets" / f"london_{split}.mat", {"dbStruct": listing})
    listed.clear()


def listed_in_matlab(root, listed):
    in_matlab(root, listed)


def same_panorama(root, listed):
    for query, image in zip(of(listed, "query", "train"), of(listed, "database", "train"), strict=True):
        query.update(easting=float(image["easting"]) + 0.5, northing=image["northing"])
    in_matlab(root, listed)


def same_timestamp(root, listed):
    in_matlab(root, listed, timestamps=True)


def half_a_position(root, listed):
    listed[3]["easting"] = ""


def split_left_out(root, listed):
    listed[:] = [row for row in listed if row["split"] != "val"]


FAULTS = {
    sound: set(),
    listed_in_matlab: set(),
    missing: {("missing", "error")},
    cut_short: {("corrupt", "error")},
    empty_file: {("corrupt", "error")},
    web_page: {("corrupt", "error")},
    copied_to_queries: {("query_in_database", "warning")},
    copied_in_the_database: {("duplicate", "warning")},
    copied_to_another_split: {("split_duplicate", "warning")},
    compressed_anew: {("near_duplicate", "warning")},
    resized: {("near_duplicate", "warning")},
    stored_twice: {("near_duplicate", "note")},
    turned: {("orientation", "note")},
    swapped: {("swapped", "error")},
    swapped_in_the_database: {("swapped", "error")},
    degrees: {("degrees", "error"), ("overlap", "warning")},
    degrees_of_queries: {("degrees", "error")},
    other_zone: {("utm_zone", "error")},
    exchanged: {("exchanged", "error")},
    small_radius: {("radius", "error")},
    far: {("far", "warning")},
    overlapping: {("overlap", "warning")},
    same_panorama: {("same_panorama", "error")},
    same_timestamp: {("same_timestamp", "error")},
    half_a_position: {("list", "error")},
    split_left_out: {("splits", "warning")},
}
"""What the doctor must find in each copy: kinds and levels, and nothing else but sizes and costs."""


def make(fault, data, listed, root):
    """Makes a copy with a fault."""
    listed = [dict(row) for row in listed]
    copy(data, listed, root)
    fault(root, listed)
    if listed:
        write(root, listed)


def found(output):
    """Kinds and levels in a report of the doctor, without what every data set has."""
    findings = json.loads((output / "doctor.json").read_text())["findings"]
    return {(one["kind"], one["level"]) for one in findings} - {("sizes", "note"), ("costs", "note")}


def main():
    from trainers import doctor
    from trainers.config import DoctorConfig

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--places", type=int, default=100, help="of each split, at most")
    arguments = parser.parse_args()
    listed = choose(arguments.data, arguments.places)
    for fault, expected in FAULTS.items():
        root = arguments.folder / fault.__name__
        make(fault, arguments.data, listed, root)
        doctor.run(DoctorConfig(root=str(root), output=str(root / "report"), cache=str(arguments.folder / "cache")))
        named = found(root / "report")
        missed = expected - named
        beside = named - expected
        names = ", ".join(kind for kind, _ in sorted(named)) or "nothing"
        sys.stdout.write(f"= {fault.__name__}: {names}; missed {sorted(missed)}, beside {sorted(beside)}\n")


if __name__ == "__main__":
    main()
