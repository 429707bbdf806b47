"""Photos with positions: reading their lists, finding neighbours in space, and decoding the files.

* `open_dataset(root, split)`: one split of a folder, its database and its queries.
* `open_splits(root)`: all of its splits, whichever way they are listed there.
* `open_databases(root)`: their database images alone, for a map that needs no queries.
* `read_csv(path, root)`: places listed in a CSV file, one's own photos.
* `read_dbstruct(path, root)`: NetVLAD's dbStruct files (Pittsburgh, Tokyo 24/7, TokyoTM).
* `PlaceDataset`, `ImageSet`: what the readers return; `training_positives(dataset, ids, radius)`.
* `neighbours_within(queries, database, radius)`, `Neighbours`: the database images near each query.
* `earth_centred(latitude, longitude)`: degrees to metres, anywhere on the globe; `geodetic(positions)`: back.
* `image_batches(paths, size, batch_size)`: files to batches of pixels; `load_image`, `decode_image` for a single one.
* `decode_batch(contents, size)`, `decode_single`: in exported graphs, where one bad image must not lose the others.
* `Augmentation`: random changes of colour, scale and side for training.
* `find_corrupt(paths)`: the files that cannot be read, with the reason; `why_unreadable(path)`: the reason for one.
* `MAX_PIXELS`: what a file may declare at most, by default, to be decoded; `set_max_pixels(n)`: another limit.
* `SfMDataset`: photos of 3D models; `read_colmap`, `read_retrieval_sfm`; `split_clusters`, `without_models_of`.
* `LandmarkDataset`, `read_landmarks`: the test sets of image retrieval; `ImageFolder`: files by name.
"""

from keras_sare.datasets.images.augmentation import Augmentation
from keras_sare.datasets.images.image_folder import ImageFolder
from keras_sare.datasets.images.image_sizes import fitted_size, image_sizes
from keras_sare.datasets.images.pipeline import decode_image, find_corrupt, image_batches, load_image
from keras_sare.datasets.images.pixel_limit import MAX_PIXELS, set_max_pixels
from keras_sare.datasets.images.pixels import ShorterSide
from keras_sare.datasets.images.tolerant import decode_batch, decode_single, name_errors, require_all
from keras_sare.datasets.images.unreadable import why_unreadable
from keras_sare.datasets.landmarks.landmark_dataset import PROTOCOLS, LandmarkDataset
from keras_sare.datasets.landmarks.landmark_files import read_landmarks
from keras_sare.datasets.places.groups import same_group
from keras_sare.datasets.places.headings import heading_difference
from keras_sare.datasets.places.image_set import ImageSet
from keras_sare.datasets.places.open_splits import is_listed, open_databases, open_dataset, open_splits
from keras_sare.datasets.places.place_dataset import PlaceDataset
from keras_sare.datasets.places.readers.csv_places import read_csv
from keras_sare.datasets.places.readers.dbstruct import read_dbstruct
from keras_sare.datasets.places.spatial import Neighbours, earth_centred, geodetic, neighbours_within
from keras_sare.datasets.places.training_positives import training_positives
from keras_sare.datasets.sfm.retrieval_sfm import read_retrieval_sfm
from keras_sare.datasets.sfm.sfm_dataset import SfMDataset
from keras_sare.datasets.sfm.sfm_files import read_colmap
from keras_sare.datasets.sfm.sfm_splits import split_clusters, without_models_of

__all__ = [
    "MAX_PIXELS",
    "PROTOCOLS",
    "Augmentation",
    "ImageFolder",
    "ImageSet",
    "LandmarkDataset",
    "Neighbours",
    "PlaceDataset",
    "SfMDataset",
    "ShorterSide",
    "decode_batch",
    "decode_image",
    "decode_single",
    "earth_centred",
    "find_corrupt",
    "fitted_size",
    "geodetic",
    "heading_difference",
    "image_batches",
    "image_sizes",
    "is_listed",
    "load_image",
    "name_errors",
    "neighbours_within",
    "open_databases",
    "open_dataset",
    "open_splits",
    "read_colmap",
    "read_csv",
    "read_dbstruct",
    "read_landmarks",
    "read_retrieval_sfm",
    "require_all",
    "same_group",
    "set_max_pixels",
    "split_clusters",
    "training_positives",
    "why_unreadable",
    "without_models_of",
]
