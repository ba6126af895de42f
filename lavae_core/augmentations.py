"""Image-space augmentations (App. C), their pairs (Section IV-B) and the four variants (Figure 1).

Every augmentation is a pure function from uint8 (N, 28, 28) to uint8 (N, 28, 28). One that varies
from image to image declares how many uniform numbers it needs per image and gets them as its second
argument: the numbers of an image depend on (augmentation, image index, split, seed) and on nothing
else, so every stage and every rerun sees the same variant of an image.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from lavae_core.errors import InvalidInputError, require_known

SIDE = 28
SPLITS = ("train", "test")
VARIANTS = ("original", "first", "second", "composed")

MINI_SIDE = 8
NOISE_SIDE = 14
NOISE_AMOUNT = 0.1  # expected share of pixels that become salt or pepper

AUGMENTATIONS: dict[str, "Augmentation"] = {}


@dataclass(frozen=True)
class Augmentation:
    """One entry of the registry.

    name: what notebooks and files call it.
    function: uint8 (N, 28, 28) [and float32 (N, draws) in [0, 1)] to uint8 (N, 28, 28).
    order: the smallest power that is the identity, None where no power is; the involution term of
        the latent maps' loss is right only for augmentations that have one.
    draws: uniform numbers per image that `function` takes as its second argument.
    """

    name: str
    function: Callable[..., Tensor]
    order: int | None
    draws: int


def augmentation(*, order: int | None, draws: int = 0):
    """Decorator that registers a function under its own name; arguments as in Augmentation."""

    def register(function):
        name = function.__name__
        AUGMENTATIONS[name] = Augmentation(name, function, order, draws)
        return function

    return register


def get(name: str) -> Augmentation:
    """The augmentation called `name`; InvalidInputError lists the known ones."""
    require_known("augmentation", name, AUGMENTATIONS)
    return AUGMENTATIONS[name]


# --- geometry ------------------------------------------------------------------------------------


@augmentation(order=2)
def flip_lr(images: Tensor) -> Tensor:
    """Mirror left and right."""
    return images.flip(-1)


@augmentation(order=2)
def flip_ud(images: Tensor) -> Tensor:
    """Mirror top and bottom."""
    return images.flip(-2)


@augmentation(order=4)
def rotate_cw(images: Tensor) -> Tensor:
    """Turn by 90 degrees clockwise."""
    # rot90 moves pixels; torchvision's rotate resamples, and four turns have to be exact.
    return torch.rot90(images, -1, dims=(1, 2))


@augmentation(order=4)
def rotate_ccw(images: Tensor) -> Tensor:
    """Turn by 90 degrees counter-clockwise."""
    return torch.rot90(images, 1, dims=(1, 2))


@augmentation(order=None, draws=1)
def shear_x(images: Tensor, uniform: np.ndarray) -> Tensor:
    """Shear along x about the centre by -50 to -45 degrees, in torchvision's sign convention."""
    centre = (SIDE - 1) / 2
    slopes = np.tan(np.deg2rad(_between(-50, -45, uniform[:, 0])))

    def shear(image, slope):
        matrix = np.array([[1, -slope, slope * centre], [0, 1, 0]])
        return cv2.warpAffine(image, matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR)

    return _each(images, shear, slopes)


# --- edges, blur, resize -------------------------------------------------------------------------


@augmentation(order=None, draws=2)
def canny(images: Tensor, uniform: np.ndarray) -> Tensor:
    """Canny edges, black on white; lower threshold 60 to 140, upper threshold 160 to 240."""
    lower = _between(60, 140, uniform[:, 0])
    upper = _between(160, 240, uniform[:, 1])
    return 255 - _each(images, cv2.Canny, lower, upper)


@augmentation(order=None, draws=1)
def edge_detect(images: Tensor, uniform: np.ndarray) -> Tensor:
    """Laplacian blended with the image, weight 0 (the image) to 1 (its edges); saturating."""
    laplacian = np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]], dtype=np.float32)
    identity = np.array([[0, 0, 0], [0, 1, 0], [0, 0, 0]], dtype=np.float32)

    def blend(image, alpha):
        return cv2.filter2D(image, -1, (1 - alpha) * identity + alpha * laplacian)

    return _each(images, blend, uniform[:, 0])


@augmentation(order=None)
def mini_image(images: Tensor) -> Tensor:
    """The image, with itself resized to 8x8 pasted over its top-left corner."""
    # Two seconds of imports that the other augmentations, and most notebooks, do without.
    from torchvision.transforms.v2 import functional as tv

    mini = tv.resize(images[:, None], [MINI_SIDE, MINI_SIDE], antialias=True)[:, 0]
    result = images.clone()
    result[:, :MINI_SIDE, :MINI_SIDE] = mini
    return result


@augmentation(order=None, draws=1)
def gaussian_blur(images: Tensor, uniform: np.ndarray) -> Tensor:
    """Gaussian blur with a kernel of 7x7 and sigma 0.1 to 2."""
    sigmas = _between(0.1, 2, uniform[:, 0])
    return _each(images, lambda image, sigma: cv2.GaussianBlur(image, (7, 7), sigma), sigmas)


# --- noise ---------------------------------------------------------------------------------------


@augmentation(order=None, draws=SIDE * SIDE)
def salt_and_pepper(images: Tensor, uniform: np.ndarray) -> Tensor:
    """Each pixel becomes 0 or 255, with a probability of 0.05 each."""
    return _speckle(images, uniform.reshape(-1, SIDE, SIDE))


@augmentation(order=None, draws=NOISE_SIDE * NOISE_SIDE)
def salt_and_pepper_corner(images: Tensor, uniform: np.ndarray) -> Tensor:
    """salt_and_pepper in the top-left corner of 14x14 pixels only."""
    result = images.clone()
    corner = images[:, :NOISE_SIDE, :NOISE_SIDE]
    result[:, :NOISE_SIDE, :NOISE_SIDE] = _speckle(
        corner, uniform.reshape(-1, NOISE_SIDE, NOISE_SIDE)
    )
    return result


def _speckle(pixels: Tensor, uniform: np.ndarray) -> Tensor:
    # Pixels are replaced, never added to: a uint8 sum would wrap round.
    uniform = torch.from_numpy(uniform)
    peppered = pixels.masked_fill(uniform < NOISE_AMOUNT / 2, 0)
    return peppered.masked_fill_(uniform >= 1 - NOISE_AMOUNT / 2, 255)


def _between(low: float, high: float, uniform: np.ndarray) -> np.ndarray:
    """Map numbers in [0, 1) to [low, high)."""
    return low + (high - low) * uniform.astype(np.float64)


def _each(images: Tensor, function, *parameters: np.ndarray) -> Tensor:
    """Apply an OpenCV function image by image, each with its own parameters."""
    pixels = images.contiguous().numpy()
    result = np.empty_like(pixels)
    columns = [column.tolist() for column in parameters]  # OpenCV wants Python floats
    for index, values in enumerate(zip(*columns, strict=True)):
        result[index] = function(pixels[index], *values)
    return torch.from_numpy(result)


# --- draws and application -----------------------------------------------------------------------


def _draws(name: str, count: int, indices: np.ndarray, split: str, seed: int) -> np.ndarray:
    """float32 (N, count) in [0, 1): row `index` of the stream that name, split and seed select."""
    digest = hashlib.sha256(f"{name}/{split}/{seed}".encode()).digest()
    stream = np.random.Generator(np.random.Philox(key=np.frombuffer(digest[:16], dtype="<u8")))
    rows = int(indices.max(initial=-1)) + 1
    numbers = stream.random((rows, count), dtype=np.float32)
    whole = rows == len(indices) and np.array_equal(indices, np.arange(rows))
    return numbers if whole else numbers[indices]


def apply(
    name: str,
    images: Tensor,
    *,
    split: str = "test",
    seed: int = 0,
    indices: Sequence[int] | Tensor | np.ndarray | None = None,
) -> Tensor:
    """Apply the augmentation `name` (App. C); the input is left as it is.

    images: uint8 (N, 28, 28), 0 to 255, on the CPU.
    split, seed: select the random draws; split is "train" or "test", seed an integer from 0.
    indices: (N,) place of each image in its split, so that a subset sees the draws of the whole;
        None stands for 0 .. N-1.
    Returns uint8 (N, 28, 28). InvalidInputError on anything else.
    """
    chosen = get(name)
    _check_images(images)
    require_known("split", split, SPLITS)
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise InvalidInputError(f"seed is {seed!r}; allowed: an integer from 0")
    places = _check_indices(indices, len(images))
    if not chosen.draws:
        return chosen.function(images)
    return chosen.function(images, _draws(name, chosen.draws, places, split, seed))


def fingerprint(name: str) -> str:
    """Digest of what the augmentation does to a few fixed images: it changes with the code, the
    parameters and the libraries behind it, and with nothing else."""
    ramps = torch.arange(4 * SIDE * SIDE).view(4, SIDE, SIDE)
    probe = (ramps * torch.tensor([1, 3, 7, 19]).view(4, 1, 1) % 256).to(torch.uint8)
    return hashlib.sha256(apply(name, probe).contiguous().numpy()).hexdigest()[:16]


def _check_images(images: object) -> None:
    allowed = f"allowed: a torch.uint8 tensor (N, {SIDE}, {SIDE}) on the CPU"
    if not isinstance(images, Tensor):
        raise InvalidInputError(f"images is a {type(images).__name__}; {allowed}")
    if images.dtype != torch.uint8:
        raise InvalidInputError(f"images has dtype {images.dtype}; {allowed}")
    if images.ndim != 3 or images.shape[1:] != (SIDE, SIDE):
        raise InvalidInputError(f"images has shape {tuple(images.shape)}; {allowed}")
    if images.device.type != "cpu":
        raise InvalidInputError(f"images is on {images.device}; {allowed}")


def _check_indices(indices, count: int) -> np.ndarray:
    if indices is None:
        return np.arange(count)
    places = np.asarray(indices)
    if places.size == 0:
        places = places.astype(np.int64)  # an empty list arrives as float64
    if places.shape != (count,) or places.dtype.kind not in "iu" or places.min(initial=0) < 0:
        raise InvalidInputError(
            f"indices is {places.dtype} of shape {places.shape}; "
            f"allowed: {count} integers from 0, one per image"
        )
    return places


# --- pairs ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pair:
    """Two augmentations A1 (`first`) and A2 (`second`), Section IV-B; unknown names are refused."""

    first: str
    second: str

    def __post_init__(self):
        get(self.first)
        get(self.second)

    @classmethod
    def parse(cls, text: str) -> "Pair":
        """Read "flip_lr,flip_ud"; InvalidInputError unless it is two known names and a comma."""
        names = [name.strip() for name in text.split(",")] if isinstance(text, str) else []
        if len(names) != 2:
            raise InvalidInputError(
                f'pair {text!r} is not two names; allowed: "first,second" with names from '
                + ", ".join(AUGMENTATIONS)
            )
        return cls(*names)

    def __str__(self) -> str:
        return f"{self.first},{self.second}"

    @property
    def orders(self) -> tuple[int | None, int | None]:
        """The orders of A1 and A2: the power that is the identity, None where there is none."""
        return get(self.first).order, get(self.second).order


def variants(
    images: Tensor,
    pair: Pair,
    *,
    split: str,
    seed: int,
    indices: Sequence[int] | Tensor | np.ndarray | None = None,
) -> Tensor:
    """The four variants x, A1(x), A2(x), A2(A1(x)) of each image (Figure 1), in VARIANTS' order.

    `composed` uses A2's draw of the same image that `second` uses. Arguments and errors as in
    apply. Returns uint8 (4, N, 28, 28).
    """
    draw = {"split": split, "seed": seed, "indices": indices}
    first = apply(pair.first, images, **draw)
    second = apply(pair.second, images, **draw)
    return torch.stack([images, first, second, apply(pair.second, first, **draw)])
