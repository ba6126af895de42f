"""Image-space augmentations (Appendix C), and families of them that fill the latent space.

Every augmentation is a pure function from uint8 (N, 28, 28) to uint8 (N, 28, 28). One that varies
from image to image declares how many uniform numbers it needs per image and gets them as its second
argument: the numbers of an image depend on (augmentation, image index, split, seed) and on nothing
else, so every stage and every rerun sees the same variant of an image.
"""

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain, combinations, groupby

import cv2
import numpy as np
import torch
from torch import Tensor

from lavae_core.errors import InvalidInputError, require_known, require_whole

SIDE = 28
SPLITS = ("train", "test")
MINI_SIDE, NOISE_SIDE = 8, 14
NOISE_AMOUNT = 0.1  # expected share of pixels that become salt or pepper

AUGMENTATIONS: dict[str, "Augmentation"] = {}
PAIR_VARIANTS = ("original", "first", "second", "composed")
MAX_LETTERS = 999  # of a word of a family
Indices = Sequence[int] | Tensor | np.ndarray | None
_LETTER = re.compile(r"A(?P<number>[1-9]\d{0,2})(?:\^(?P<power>[1-9]\d{0,2}))?")


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
    """Decorator that registers a function under its own name; arguments as in Augmentation.

    Raises InvalidInputError for a name that is taken, or an order or a number of draws that is no
    whole number. What the function returns is checked by `apply`.
    """

    def register(function):
        name = function.__name__
        if name in AUGMENTATIONS:
            raise InvalidInputError(f"an augmentation {name!r} is registered already; rename yours")
        if order is not None:
            require_whole(f"the order of {name!r}", order, 1)
        require_whole(f"the number of draws of {name!r}", draws, 0)
        AUGMENTATIONS[name] = Augmentation(name, function, order, draws)
        return function

    return register


def get(name: str) -> Augmentation:
    """The augmentation called `name`; InvalidInputError lists the known ones."""
    require_known("augmentation", name, AUGMENTATIONS)
    return AUGMENTATIONS[name]


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


@augmentation(order=None, draws=SIDE * SIDE)
def salt_and_pepper(images: Tensor, uniform: np.ndarray) -> Tensor:
    """Each pixel becomes 0 or 255, with a probability of 0.05 each."""
    return _speckle(images, uniform.reshape(-1, SIDE, SIDE))


@augmentation(order=None, draws=NOISE_SIDE * NOISE_SIDE)
def salt_and_pepper_corner(images: Tensor, uniform: np.ndarray) -> Tensor:
    """salt_and_pepper in the top-left corner of 14x14 pixels only."""
    result = images.clone()
    corner = images[:, :NOISE_SIDE, :NOISE_SIDE]
    uniform = uniform.reshape(-1, NOISE_SIDE, NOISE_SIDE)
    result[:, :NOISE_SIDE, :NOISE_SIDE] = _speckle(corner, uniform)
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


def _draws(name: str, count: int, indices: np.ndarray, split: str, seed: int) -> np.ndarray:
    """float32 (N, count) in [0, 1): row `index` of the stream that name, split and seed select."""
    digest = hashlib.sha256(f"{name}/{split}/{seed}".encode()).digest()
    stream = np.random.Generator(np.random.Philox(key=np.frombuffer(digest[:16], dtype="<u8")))
    rows = int(indices.max(initial=-1)) + 1
    numbers = stream.random((rows, count), dtype=np.float32)
    whole = rows == len(indices) and np.array_equal(indices, np.arange(rows))
    return numbers if whole else numbers[indices]


def apply(
    name: str, images: Tensor, *, split: str = "test", seed: int = 0, indices: Indices = None
) -> Tensor:
    """Apply the augmentation `name` (App. C); the input is left as it is.

    images: uint8 (N, 28, 28), 0 to 255, on the CPU.
    split, seed: select the random draws; split is "train" or "test", seed an integer from 0.
    indices: (N,) place of each image in its split, so that a subset sees the draws of the whole;
        None stands for 0 .. N-1.
    Returns uint8 (N, 28, 28). Raises InvalidInputError on anything else.
    """
    chosen = get(name)
    _require_uint8(images, "images", "cpu")
    require_known("split", split, SPLITS)
    require_whole("seed", seed, 0)
    places = _places(indices, len(images))
    arguments = [_draws(name, chosen.draws, places, split, seed)] if chosen.draws else []
    # A copy: a function that writes into its input would spoil the originals without a word.
    result = chosen.function(images.clone(), *arguments)
    _require_uint8(result, f"what augmentation {name!r} returns", "cpu")
    if len(result) != len(images):
        raise InvalidInputError(
            f"augmentation {name!r} returns {len(result)} images for {len(images)}; return as many"
        )
    return result


def to_float(images: Tensor) -> Tensor:
    """uint8 images (N, 28, 28) as floats (N, 1, 28, 28) in [0, 1], on the same device.

    Raises InvalidInputError for anything else: floats would be divided by 255 a second time.
    """
    _require_uint8(images, "images")
    return images.unsqueeze(1).float().div_(255)


def require_images(x: Tensor) -> None:
    """Raise InvalidInputError unless x is a float tensor (N, 1, 28, 28) with values in [0, 1]."""
    if not isinstance(x, Tensor) or not x.is_floating_point():
        kind = x.dtype if isinstance(x, Tensor) else type(x).__name__
        raise InvalidInputError(f"images must be a float tensor, got {kind}; divide uint8 by 255")
    if x.dim() != 4 or tuple(x.shape[1:]) != (1, 28, 28):
        raise InvalidInputError(f"images must have shape (N, 1, 28, 28), got {tuple(x.shape)}")
    if x.numel() and not (x.amin() >= 0 and x.amax() <= 1):  # also false for NaN
        raise InvalidInputError("images must be in [0, 1] without NaN; divide uint8 by 255")


def _require_uint8(images: object, what: str, device: str = "") -> None:
    """Raise InvalidInputError unless `images` is uint8 (N, 28, 28), on a device of that type."""
    fits = isinstance(images, Tensor) and images.dtype == torch.uint8 and images.ndim == 3
    if fits and images.shape[1:] == (SIDE, SIDE) and device in ("", images.device.type):
        return
    got, place = type(images).__name__, f" on the {device}" if device else ""
    if isinstance(images, Tensor):
        got = f"{images.dtype} {tuple(images.shape)} on {images.device}"
    raise InvalidInputError(f"{what} must be torch.uint8 (N, {SIDE}, {SIDE}){place}, got {got}")


def _places(indices: Indices, count: int) -> np.ndarray:
    if indices is None:
        return np.arange(count)
    places = np.asarray(indices, dtype=None if len(indices) else np.int64)  # [] would be float64
    if places.shape != (count,) or places.dtype.kind not in "iu" or places.min(initial=0) < 0:
        raise InvalidInputError(
            f"indices is {places.dtype} of shape {places.shape}; "
            f"allowed: {count} integers from 0, one per image"
        )
    return places


@dataclass(frozen=True)
class Family:
    """Generators A1, ..., Ak, and the words that make the variants, "" (the original) first.

    generators: names of augmentations. words: such as ("", "A1", "A2", "A1 A2"); read from left to
    right, "A1 A2" is A2(A1(x)), and "A1^2" applies A1 twice. Without `words`: the products of all
    subsets of the generators, so that a pair has the paper's four variants.
    Raises InvalidInputError for an unknown or repeated generator, for words that are not "" and at
    least one more, for an unknown letter, a word of more than MAX_LETTERS, or a variant that is
    there twice.
    """

    generators: tuple[str, ...]
    words: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "generators", _checked_generators(self.generators))
        words = _all_products(self.letters) if self.words is None else self.words
        object.__setattr__(self, "words", _checked_words(words, self.letters))

    @classmethod
    def parse(cls, text: "str | Family") -> "Family":
        """Read "flip_lr,flip_ud" or, with words, "rotate_cw,flip_lr: A1, A1^2, A2, A1 A2".

        The word "" is implied. A Family is returned as it is. Raises as the constructor.
        """
        if isinstance(text, cls):
            return text
        if not isinstance(text, str):
            raise InvalidInputError(f'a family is text such as "flip_lr,flip_ud", got {text!r}')
        names, colon, words = text.partition(":")
        listed = [word.strip() for word in words.split(",")] if words.strip() else []
        generators = tuple(name.strip() for name in names.split(","))
        return cls(generators, ("", *listed) if colon else None)

    def __str__(self) -> str:
        names = ",".join(self.generators)
        if self.words == _all_products(self.letters):
            return names
        return f"{names}: {', '.join(self.words[1:])}"

    @property
    def letters(self) -> tuple[str, ...]:
        """("A1", ..., "Ak")."""
        return tuple(f"A{i + 1}" for i in range(len(self.generators)))

    @property
    def orders(self) -> tuple[int | None, ...]:
        """For each generator the smallest power that is the identity, None where there is none."""
        return tuple(get(name).order for name in self.generators)

    @property
    def variants(self) -> tuple[str, ...]:
        """Names of the variants: the paper's four for a pair, else "original" and the words."""
        if self.words == ("", "A1", "A2", "A1 A2"):
            return PAIR_VARIANTS
        return ("original", *self.words[1:])

    @property
    def latent_words(self) -> dict[str, str]:
        """For each variant the word of latent maps that leads to it: "L1 L2" for "A1 A2"."""
        mapped = [word.replace("A", "L") for word in self.words]
        return dict(zip(self.variants, mapped, strict=True))

    @property
    def singles(self) -> "Family":
        """The same generators with the words "", A1, ..., Ak: what the maps are fitted to."""
        return Family(self.generators, ("", *self.letters))


def variants(
    images: Tensor, family: Family | str, *, split: str, seed: int, indices: Indices = None
) -> Tensor:
    """Every variant of each image (Figure 1), uint8 (V, N, 28, 28), in the order of the words.

    An augmentation uses one random draw for an image wherever it occurs in the words. Arguments
    and errors as in Family.parse and `apply`.
    """
    family = Family.parse(family)
    made = {(): images}
    for word in family.words:
        steps = _steps(word, family.letters)
        for end in range(1, len(steps) + 1):
            if steps[:end] not in made:
                name, before = family.generators[steps[end - 1]], made[steps[: end - 1]]
                made[steps[:end]] = apply(name, before, split=split, seed=seed, indices=indices)
    return torch.stack([made[_steps(word, family.letters)] for word in family.words])


def _checked_generators(generators: Sequence[str]) -> tuple[str, ...]:
    if isinstance(generators, str) or not generators:
        raise InvalidInputError(
            f'a family needs names of augmentations such as "flip_lr,flip_ud", got {generators!r}; '
            f"allowed: {', '.join(AUGMENTATIONS)}"
        )
    for place, name in enumerate(generators):
        require_known("augmentation", name, AUGMENTATIONS)
        if name in generators[:place]:
            raise InvalidInputError(f"augmentation {name!r} is twice in a family; name it once")
    return tuple(generators)


def _all_products(letters: tuple[str, ...]) -> tuple[str, ...]:
    """ "", then the products of all subsets, the short ones first: A1, A2, A1 A2 for two."""
    subsets = chain.from_iterable(combinations(letters, size) for size in range(len(letters) + 1))
    return tuple(" ".join(subset) for subset in subsets)


def _steps(word: str, letters: tuple[str, ...]) -> tuple[int, ...]:
    """Position of each generator that the word applies in turn: (0, 0, 1) for "A1^2 A2"."""
    steps: list[int] = []
    for text in word.split() if isinstance(word, str) else [word]:
        match = _LETTER.fullmatch(text) if isinstance(text, str) else None
        steps += [int(match["number"]) - 1] * int(match["power"] or 1) if match else [len(letters)]
        if steps[-1] >= len(letters) or len(steps) > MAX_LETTERS:
            raise InvalidInputError(
                f"cannot use {text!r} in the word {word!r} of a family; allowed: at most "
                f"{MAX_LETTERS} of {', '.join(letters)}, with powers from 1 such as A1^2"
            )
    return tuple(steps)


def _checked_words(words: Sequence[str], letters: tuple[str, ...]) -> tuple[str, ...]:
    """The words in one spelling: "A1 A1" becomes "A1^2"."""
    if isinstance(words, str) or len(words) < 2 or words[0] != "":
        raise InvalidInputError(
            f'the words of a family are "" (the original) and at least one more, got {words!r}; '
            f'such as ("", "{letters[0]}")'
        )
    by_steps: dict[tuple[int, ...], str] = {}
    for word in words:
        steps = _steps(word, letters)
        if steps in by_steps:
            raise InvalidInputError(
                f"the words {by_steps[steps]!r} and {word!r} are one variant; name it once"
            )
        by_steps[steps] = word
    runs = [[(letters[i], len(list(run))) for i, run in groupby(steps)] for steps in by_steps]
    return tuple(" ".join(f"{a}^{n}" if n > 1 else a for a, n in each) for each in runs)
