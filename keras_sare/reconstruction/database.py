"""COLMAP's database of a photo collection: what is in it, and filling it with features and matches."""

import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from keras_sare.datasets.sfm.sfm_pycolmap import quiet_pycolmap
from keras_sare.reconstruction.background import run_pycolmap
from keras_sare.utils.files import atomic_path

_VOCABULARY_FEATURES = 500_000
_VISUAL_WORDS = 8192
# Features for which the vocabulary's own clustering does not complain that they are too few for a word.
_FEATURES_PER_WORD = 40


class ColmapDatabase:
    """Features and verified matches of photos. What is in it already is not computed again.

    Args:
        path: of the file `database.db`; made where it does not exist.
        images: folder that the names of the images start from.

    Raises:
        ImportError: pycolmap is not installed.
    """

    def __init__(self, path: Path, images: str | os.PathLike[str]) -> None:
        self.path = path
        self._images = os.fspath(images)
        path.parent.mkdir(parents=True, exist_ok=True)
        with quiet_pycolmap() as pycolmap:
            pycolmap.Database.open(path).close()

    def described(self) -> set[str]:
        """Names of the images whose features are stored."""
        rows = self._rows("SELECT name FROM images JOIN descriptors USING (image_id)")
        return {name for (name,) in rows}

    def extract(
        self,
        names: Sequence[str],
        max_image_size: int,
        max_features: int,
        images: str | os.PathLike[str] | None = None,
    ) -> None:
        """Computes SIFT features.

        Args:
            names: of the images, none of which is described yet. One that COLMAP cannot read stays undescribed.
            max_image_size: larger images are scaled down until no side exceeds so many pixels.
            max_features: kept of an image.
            images: another folder that these names start from, of copies.
        """
        folder = self._images if images is None else os.fspath(images)
        before = self._count("descriptors")

        def call(pycolmap: Any, token: Any) -> None:
            # Threads finish in any order, and images are numbered as they finish, unless they have a number before.
            if new := sorted(set(names) - {name for (name,) in self._rows("SELECT name FROM images")}):
                mode = pycolmap.CameraMode.PER_IMAGE
                pycolmap.import_images(self.path, folder, camera_mode=mode, image_names=new)
            options = pycolmap.FeatureExtractionOptions(max_image_size=max_image_size)
            options.sift.max_num_features = max_features
            pycolmap.extract_features(
                self.path,
                folder,
                image_names=sorted(names),
                camera_mode=pycolmap.CameraMode.PER_IMAGE,
                extraction_options=options,
                cancellation_token=token,
            )

        run_pycolmap(call, lambda: self._count("descriptors") - before, "Features", "image", len(names))

    def match_exhaustively(self, seed: int) -> None:
        """Matches every image with every other one."""
        images = self._count("images")

        def call(pycolmap: Any, token: Any) -> None:
            geometry = _geometry_options(pycolmap, seed)
            pycolmap.match_exhaustive(self.path, verification_options=geometry, cancellation_token=token)

        run_pycolmap(call, self._pairs, "Matching", "pair", images * (images - 1) // 2)

    def match_similar(self, neighbours: int, seed: int) -> None:
        """Matches every image with those most similar to it in visual words.

        The vocabulary is learned from the images themselves and kept beside the database, as `vocabulary.bin`.

        Args:
            neighbours: images that each one is matched with.
            seed: of the choice of features for the vocabulary, and of verification.
        """
        vocabulary = self.path.with_name("vocabulary.bin")

        def call(pycolmap: Any, token: Any) -> None:
            if not vocabulary.is_file():
                self._learn_vocabulary(pycolmap, vocabulary, seed)
            # COLMAP counts the image itself.
            pairing = pycolmap.VocabTreePairingOptions(vocab_tree_path=vocabulary, num_images=neighbours + 1)
            geometry = _geometry_options(pycolmap, seed)
            pycolmap.match_vocabtree(
                self.path, pairing_options=pairing, verification_options=geometry, cancellation_token=token
            )

        run_pycolmap(call, self._pairs, "Matching", "pair")

    def forget_verified_pairs(self) -> None:
        """Forgets which pairs of images agree. Their matches stay: where such a pair is chosen again it is verified."""
        with quiet_pycolmap() as pycolmap, pycolmap.Database.open(self.path) as database:
            database.clear_two_view_geometries()

    def _learn_vocabulary(self, pycolmap: Any, vocabulary: Path, seed: int) -> None:
        """Takes some features of some images, so that memory does not grow with the collection."""
        random = np.random.default_rng(seed)
        ids = [image_id for (image_id,) in self._rows("SELECT image_id FROM descriptors WHERE rows > 0")]
        ids = random.permutation(sorted(ids))[:2000].tolist()
        share = _VOCABULARY_FEATURES // max(1, len(ids))
        chosen = []
        with pycolmap.Database.open(self.path) as database:
            for image_id in ids:
                features = database.read_descriptors(image_id).to_float().data
                chosen.append(features[np.sort(random.permutation(len(features))[:share])])
        data = np.concatenate(chosen)
        words = min(_VISUAL_WORDS, len(data) // _FEATURES_PER_WORD)
        options = pycolmap.VisualIndex.BuildOptions(num_visual_words=words, num_iterations=20, num_rounds=1)
        index = pycolmap.VisualIndex.create(data.shape[1], 64)
        index.build(options, pycolmap.FeatureDescriptorsFloat(pycolmap.FeatureExtractorType.SIFT, data))
        with atomic_path(vocabulary) as temporary:
            index.write(temporary)

    def _pairs(self) -> int:
        return self._count("two_view_geometries")

    def _count(self, table: str) -> int:
        return int(self._rows(f"SELECT COUNT(*) FROM {table}")[0][0])

    def _rows(self, query: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(f"{self.path.absolute().as_uri()}?mode=rw", uri=True)) as connection:
            return connection.execute(query).fetchall()


def _geometry_options(pycolmap: Any, seed: int) -> Any:
    options = pycolmap.TwoViewGeometryOptions()
    options.ransac.random_seed = seed
    return options
