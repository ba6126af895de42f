"""An explorer for a notebook: buttons for latent maps, and the walk that they lead a digit on."""

from collections.abc import Callable
from io import BytesIO

import ipywidgets
import matplotlib.pyplot as plt
import torch
from IPython.display import display
from matplotlib.figure import Figure
from torch import Tensor

from lavae_companion.figures import Walk, stations
from lavae_companion.results import scores
from lavae_companion.study import Study
from lavae_core import augmentations
from lavae_core.augmentations import Family
from lavae_core.errors import require_known
from lavae_core.latent_maps import letters
from lavae_core.models import encode

VIEW = "application/vnd.jupyter.widget-view+json"
STATIONS, LETTERS = 5, 4  # that fit a picture and the caption of a station: the last ones


class Explorer:
    """A test image and the letters that were pressed: "L1", or "L1^-1", the map undone.

    pressed: the letters, the first one first. index: of the test image. An augmentation without an
    order has no inverse to compare with, so its map cannot be undone here. Raises InvalidInputError
    for another digit or word, before a model is trained.
    """

    def __init__(self, study: Study, family: Family | str, digit: int, word: str = "") -> None:
        self.study, self.family = study, Family.parse(family)
        self.pressed: list[str] = []
        self.choose(digit)
        for name, power in letters(word):
            for _ in range(abs(power)):
                self.press(name if power > 0 else f"{name}^-1")
        self.model = study.lavae(self.family)

    @property
    def letters(self) -> list[str]:
        """What can be pressed."""
        names = [letter.replace("A", "L") for letter in self.family.letters]
        known = zip(names, self.family.orders, strict=True)
        return names + [f"{name}^-1" for name, order in known if order]

    def choose(self, digit: int) -> None:
        """Go on with the first test image with this label, after the same letters."""
        (self.index,) = self.study.examples([digit])

    def press(self, letter: str) -> None:
        require_known("letter to press", letter, self.letters)
        self.pressed.append(letter)

    def undo(self) -> None:
        """Take the last letter back, if there is one."""
        self.pressed = self.pressed[:-1]

    def restart(self) -> None:
        self.pressed = []

    def truth(self) -> Tensor:
        """uint8 (S, 28, 28): the image before and after each letter, in image space."""
        images = [self.study.test_set.images[[self.index]]]
        for letter in self.pressed:
            ((name, power),) = letters(letter)
            place = int(name[1:]) - 1
            times = 1 if power > 0 else self.family.orders[place] - 1
            image = images[-1]
            for _ in range(times):
                image = augmentations.apply(
                    self.family.generators[place], image,
                    split="test", seed=self.study.setting.seed, indices=[self.index],
                )  # fmt: skip
            images.append(image)
        return torch.cat(images)

    @torch.no_grad()
    def walk(self) -> tuple[Walk, Tensor]:
        """The stations, one more than letters, and the BCE (S,) of each decoded image."""
        truth = self.truth().to(self.study.setting.runtime.device)
        words = [" ".join(self.pressed[:end]) for end in range(len(truth))]
        mu, _ = encode(self.model, truth[:1])
        z = torch.cat([self.model.maps(mu, word) for word in words])
        bce, _ = scores.image_scores(self.model.decode, z, truth)
        names = [f"BCE {value:.1f}" for value in bce.tolist()]
        return Walk(words, names, truth, z, scores.decoded(self.model, z, "")), bce

    def figure(self) -> Figure:
        """The last stations: in image space, as latents, and decoded."""
        walk, _ = self.walk()
        words = [_shortened(word) for word in walk.words]
        parts = (words, walk.names, walk.truth, walk.z, walk.decoded)
        word = walk.words[-1] or "no map"
        return stations(Walk(*(part[-STATIONS:] for part in parts)), f"{self.family}: {word}")


def _shortened(word: str) -> str:
    pressed = word.split()
    return word if len(pressed) <= LETTERS else " ".join(["...", *pressed[1 - LETTERS :]])


class Buttons:
    """The widgets of an explorer: a digit to choose, a button for each letter, and the picture."""

    def __init__(self, explorer: Explorer, digit: int) -> None:
        self.explorer = explorer
        labels = explorer.study.test_set.labels.unique().tolist()
        self.digit = ipywidgets.Dropdown(options=labels, value=digit, description="digit")
        self.digit.observe(lambda change: self._do(explorer.choose, change["new"]), "value")
        self.buttons = {
            letter: self._button(letter, explorer.press, letter) for letter in explorer.letters
        }
        self.undo = self._button("undo", explorer.undo)
        self.restart = self._button("restart", explorer.restart)
        self.picture = ipywidgets.Image(format="png")
        row = ipywidgets.HBox([self.digit, *self.buttons.values(), self.undo, self.restart])
        row.layout.flex_flow = "row wrap"
        self.box = ipywidgets.VBox([row, self.picture])
        self._do(lambda: None)

    def show(self) -> None:
        """Show the widgets alone: the text that stands for them elsewhere differs between runs."""
        display({VIEW: self.box._repr_mimebundle_()[VIEW]}, raw=True)

    def _button(self, text: str, action: Callable[..., None], *arguments: str):
        button = ipywidgets.Button(description=text, layout={"width": "auto"})
        button.on_click(lambda _: self._do(action, *arguments))
        return button

    def _do(self, action: Callable[..., None], *arguments: object) -> None:
        action(*arguments)
        figure, content = self.explorer.figure(), BytesIO()
        figure.savefig(content, format="png")
        plt.close(figure)
        self.picture.value = content.getvalue()
