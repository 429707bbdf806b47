"""What the words of `--photos` mean."""

from keras_sare.datasets.photo_sources.files import expanded, is_address, is_file, is_folder
from keras_sare.datasets.photo_sources.folder_photos import FolderPhotos
from keras_sare.datasets.photo_sources.listed_photos import ListedPhotos
from keras_sare.datasets.photo_sources.manifest_photos import ManifestPhotos
from keras_sare.datasets.photo_sources.photo_source import PhotoSource
from keras_sare.datasets.photo_sources.tar_photos import TarPhotos

_LIST = "places.csv"


def open_photos(text: str) -> PhotoSource:
    """Opens a source of photos.

    Args:
        text: a folder; a CSV file as `keras_sare.datasets.read_csv` reads it, or a folder with places.csv; Parquet
            manifests or WebDataset tar files. Of these several may be named by {000..099}, {a,b} or *. All but the CSV
            file may be addresses for fsspec.

    Raises:
        FileNotFoundError: there is no such thing.
        ImportError: what it needs is not installed.
        OSError: it cannot be read.
        ValueError: it is none of these, or damaged.
    """
    if text.endswith(".tar"):
        return TarPhotos(expanded(text))
    if text.endswith(".parquet"):
        return ManifestPhotos(expanded(text))
    if text.endswith(".csv"):
        if is_address(text):
            raise ValueError(f"A list must be a file here; write a Parquet manifest instead. Received: {text!r}")
        return ListedPhotos(text)
    if is_folder(text):
        inside = f"{text.rstrip('/')}/{_LIST}"
        return ListedPhotos(inside) if not is_address(text) and is_file(inside) else FolderPhotos(text)
    if is_file(text):
        raise ValueError(
            f"`photos` must be a folder, or end in .csv, .parquet or .tar, uncompressed. Received: {text!r}"
        )
    raise FileNotFoundError(f"`photos` must name what there is. Received: {text!r}, which does not exist")
