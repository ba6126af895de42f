"""The explorer of notebook 34: what its buttons do, against images and maps computed by hand."""

import re
from types import SimpleNamespace

import pytest
import torch
from made_up import FLIPS, spread, uint8_images
from matplotlib.text import Text

from lavae_companion.data import ImageSet
from lavae_companion.results import scores
from lavae_companion.widgets import VIEW, Buttons, Explorer
from lavae_core.augmentations import Family, apply
from lavae_core.errors import InvalidInputError
from lavae_core.models import LAVAE, encode

TURN = Family.parse("rotate_cw,canny")
IMAGES = uint8_images(20)


def study(model=None):
    """A study of noise whose digits are 0 to 9, twice."""
    return SimpleNamespace(
        test_set=ImageSet(IMAGES, torch.arange(20) % 10),
        examples=lambda digits: [torch.arange(10).tolist().index(digits[0])],
        lavae=lambda _: model or spread(LAVAE(), 1),
        setting=SimpleNamespace(seed=0, runtime=SimpleNamespace(device="cpu")),
    )


def test_the_walk_is_that_of_the_image_and_of_its_latent():
    model = spread(LAVAE(), 1)
    walk, bce = Explorer(study(model), FLIPS, 3, "L1 L2^-1").walk()
    x = IMAGES[3]
    assert list(walk.words) == ["", "L1", "L1 L2^-1"]
    assert torch.equal(walk.truth, torch.stack([x, x.flip(-1), x.flip(-1).flip(-2)]))
    z = encode(model, x[None])[0] @ model.maps.matrices[0] @ model.maps.matrices[1].inverse()
    torch.testing.assert_close(walk.z[2:], z, rtol=1e-4, atol=1e-4)
    expected, _ = scores.image_scores(model.decode, walk.z[2:], walk.truth[2:])
    torch.testing.assert_close(bce[2:], expected)
    assert walk.names[2] == f"BCE {bce[2]:.1f}"


def test_an_inverse_of_order_four_is_three_turns_and_canny_has_none():
    explorer = Explorer(study(), TURN, 0, "L1^-1")
    assert torch.equal(explorer.truth()[1], IMAGES[0].rot90(1, (-2, -1)))
    assert explorer.letters == ["L1", "L2", "L1^-1"]
    explorer.press("L2")
    assert torch.equal(
        explorer.truth()[2:], apply("canny", explorer.truth()[1:2], seed=0, indices=[0])
    )


def test_each_click_shows_another_picture():
    explorer = Explorer(study(), FLIPS, 3)
    buttons = Buttons(explorer, 3)
    pictures = [buttons.picture.value]

    def shows_another(pressed: list[str]) -> None:
        assert explorer.pressed == pressed
        assert buttons.picture.value != pictures[-1]
        assert bytes(buttons.picture.value[:4]) == b"\x89PNG"
        pictures.append(buttons.picture.value)

    buttons.buttons["L1"].click()
    shows_another(["L1"])
    buttons.buttons["L2^-1"].click()
    shows_another(["L1", "L2^-1"])
    buttons.undo.click()
    shows_another(["L1"])
    assert pictures[3] == pictures[1]
    buttons.digit.value = 5
    shows_another(["L1"])
    assert explorer.index == 5
    buttons.restart.click()
    shows_another([])
    buttons.undo.click()  # there is nothing to take back
    assert explorer.pressed == []


def test_a_picture_of_a_long_word_has_its_last_stations():
    figure = Explorer(study(), FLIPS, 3, "L1^3 L2 L1^-1 L2^2").figure()
    captions = [axis.get_title() for axis in figure.axes if axis.get_title().startswith("z")]
    assert len(captions) == 5
    assert captions[-1].count("L") == 3 and "..." in captions[-1]
    assert "encode" not in [text.get_text() for text in figure.findobj(Text)]


def test_only_the_widgets_are_shown(monkeypatch):
    shown = []
    monkeypatch.setattr("lavae_companion.widgets.display", lambda data, raw: shown.append(data))
    Buttons(Explorer(study(), FLIPS, 3), 3).show()
    assert [list(data) for data in shown] == [[VIEW]]


@pytest.mark.parametrize("word", ["L3", "L1 L3^-1", "L1^x"])
def test_a_wrong_word_is_refused_before_a_model_is_loaded(word):
    unloaded = study()
    unloaded.lavae = lambda _: pytest.fail("too late")
    with pytest.raises(InvalidInputError, match=re.escape(word.split()[-1])):
        Explorer(unloaded, FLIPS, 3, word)
