"""The explorer: what is in the page, and in a browser what it computes and how it is used.

The tests marked `ui` need playwright and chromium, and are skipped with the reason elsewhere.
"""

import numpy as np
import pytest
import torch
from made_up import FLIPS, spread, uint8_images

from lavae_companion import data
from lavae_companion.data import ImageSet
from lavae_companion.explorer import __main__, build
from lavae_companion.explorer.build import discriminants, moved_from
from lavae_companion.weights import FAMILIES, halved
from lavae_core import augmentations
from lavae_core.augmentations import Family, to_float
from lavae_core.errors import InvalidInputError
from lavae_core.models import LAVAE

TURNS = Family.parse("rotate_cw,flip_lr")
NOISE = ImageSet(uint8_images(40), torch.arange(40) % 10)
WORDS = ("", "L1", "L2^-1 L1", "L1^3 L2 L1^-2")


def untrained(seed: int) -> LAVAE:
    """A LAVAE whose weights are those that its page has: in half precision."""
    torch.manual_seed(seed)
    model = spread(LAVAE(), seed)
    model.load_state_dict(halved(model))
    return model.eval().requires_grad_(False)


MODELS = {FLIPS: untrained(1), TURNS: untrained(2)}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """The page of two untrained models and of images of noise."""
    page = tmp_path_factory.mktemp("explorer") / "explorer.html"
    build(MODELS, NOISE, page, "a <test>")
    return page


def test_the_page_is_small_and_refers_to_nothing_outside(path):
    text = path.read_text()
    assert path.stat().st_size < 4e6
    assert "://" not in text and "import(" not in text
    assert "a &lt;test&gt;" in text


@pytest.mark.parametrize("name", ["flip_lr", "flip_ud", "rotate_cw", "rotate_ccw"])
def test_moved_pixels_are_the_augmentation(name):
    images = uint8_images(3)
    moved = images.flatten(1)[:, torch.from_numpy(moved_from(name).astype(np.int64))]
    assert torch.equal(moved.view_as(images), augmentations.apply(name, images))


@pytest.mark.parametrize("name", ["canny", "gaussian_blur", "mini_image", "shear_x"])
def test_what_does_more_than_move_pixels_is_refused(name, tmp_path):
    family = Family((name, "flip_lr"))
    with pytest.raises(InvalidInputError, match=name):
        build({family: MODELS[FLIPS]}, NOISE, tmp_path / "page.html", "")


def test_the_map_separates_variants_along_its_axes():
    noise = torch.randn(4, 200, 16).double()
    noise[..., 5] *= 20  # the largest spread, which separates nothing
    noise[2:, :, 3] += 8
    noise[1::2, :, 7] += 4
    axes = discriminants(noise)
    assert axes.shape == (2, 16)
    assert axes.abs().argmax(1).tolist() == [3, 7]
    assert (axes @ (noise[3] - noise[0]).mean(0) > 0).all()


def test_the_command_writes_the_page_of_the_shipped_weights(home, monkeypatch, capsys):
    monkeypatch.setattr(data, "load", lambda split: NOISE)
    home.mkdir()
    assert __main__.main([]) == 0
    text = (home / "explorer.html").read_text()
    assert all(f'"family": "{family}"' in text for family in FAMILIES)
    assert __main__.main([str(home / "nowhere" / "page.html")]) == 1
    assert "nowhere" in capsys.readouterr().err


# -- in a browser --------------------------------------------------------------------------------


@pytest.fixture
def page(browser, path):
    """The open page; in the end it has complained of nothing and asked for nothing."""
    opened, complaints, asked = browser.new_page(device_scale_factor=2), [], []
    opened.set_default_timeout(120_000)  # a test machine may be busy
    opened.on("console", lambda message: complaints.append(message.text))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("request", lambda request: asked.append(request.url))
    opened.goto(path.as_uri())
    yield opened
    opened.close()
    assert complaints == []
    assert [url for url in asked if not url.startswith("data:")] == [path.as_uri()]


@pytest.mark.ui
@pytest.mark.parametrize("family", MODELS, ids=str)
def test_the_output_is_pytorchs(page, family):
    images = to_float(uint8_images(3, seed=1))
    for word in WORDS:
        expected = MODELS[family].augment(images, word).flatten(1)
        assert expected.std() > 0.01
        shown = [
            page.evaluate("args => augment(...args)", [str(family), image, word])
            for image in images.flatten(1).tolist()
        ]
        torch.testing.assert_close(torch.tensor(shown), expected, rtol=0, atol=1e-3)


@pytest.mark.ui
@pytest.mark.parametrize("family", MODELS, ids=str)
def test_the_truth_is_the_augmentation(page, family):
    page.select_option("#family", label=str(family))
    page.fill("#text", "L1^2 L2 L1^-1 L2")
    image = torch.tensor(page.evaluate("[...state.pixels]")).mul(255).round().byte()
    truth = page.evaluate("[...station(state.model, state.pixels, state.steps).truth]")
    undone = "rotate_ccw" if family == TURNS else family.generators[0]
    expected = image.view(1, 28, 28)
    first, second = family.generators
    for name in (first, first, second, undone, second):
        expected = augmentations.apply(name, expected)
    assert torch.equal(torch.tensor(truth).mul(255).round().byte(), expected.flatten())


@pytest.mark.ui
def test_words_are_reduced_by_orders_and_commutation(page):
    def reduced(word):
        page.fill("#text", word)
        return page.text_content("#reduced").split(" (")[0].strip()

    assert reduced("L2 L1 L2^-1") == "L1"
    assert reduced("L2 L1") == "L1 L2"
    assert reduced("L1 L2 L1 L2") == "1, the identity"
    page.select_option("#family", label=str(TURNS))
    assert reduced("L2 L1") == "L2 L1"
    assert reduced("L1 L2 L1 L2") == "1, the identity"
    assert reduced("L1^6") == "L12"  # the power is raised
    assert "not in training" in page.text_content("#reduced")


@pytest.mark.ui
def test_letters_images_and_power_by_keyboard(page):
    page.keyboard.press("Escape")
    for key in ("1", "1", "2", "Shift+Digit1", "Shift+Digit2", "Backspace"):
        page.keyboard.press(key)
    assert page.input_value("#text") == "L1^2 L2 L1^-1"
    before = page.locator("#gallery [aria-pressed=true]").get_attribute("aria-label")
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    assert page.locator("#gallery [aria-pressed=true]").get_attribute("aria-label") != before
    page.fill("#power", "3")
    page.get_by_role("button", name="L2^-1").click()
    assert page.input_value("#text") == "L1^2 L2 L1^-1 L2^-3"
    assert page.locator("#stations figure").count() == 8


@pytest.mark.ui
def test_what_cannot_be_read_is_named(page):
    page.fill("#text", "L1 L3")
    assert "L3" in page.text_content("#problem")
    page.fill("#text", "L1^99")
    assert "40" in page.text_content("#problem")
    page.fill("#text", "L1")
    assert page.text_content("#problem") == ""


@pytest.mark.ui
def test_a_drawing_is_scaled_and_centred(page):
    page.get_by_role("button", name="New drawing").click()
    box = page.locator("#pad").bounding_box()
    page.mouse.move(box["x"] + 20, box["y"] + 20)  # a short line in a corner
    page.mouse.down()
    page.mouse.move(box["x"] + 20, box["y"] + 110, steps=5)
    page.mouse.up()
    page.wait_for_function("state.pixels.some((value) => value > 0)")
    page.wait_for_function("!state.waiting")
    pixels = np.array(page.evaluate("[...state.pixels]")).reshape(28, 28)
    rows, columns = np.nonzero(pixels)
    assert 18 <= np.ptp(rows) + 1 <= 22
    assert abs(np.average(rows, weights=pixels[rows, columns]) - 13.5) < 0.5
    assert abs(np.average(columns, weights=pixels[rows, columns]) - 13.5) < 0.5


@pytest.mark.ui
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_narrow_window_does_not_scroll_sideways(page, scheme):
    page.set_viewport_size({"width": 400, "height": 800})
    page.emulate_media(color_scheme=scheme)
    page.fill("#text", "L1^20 L2 L1 L2 L1")
    assert page.evaluate("document.documentElement.scrollWidth") == 400
    assert page.locator("#map").bounding_box()["height"] == 340  # whatever it was drawn in before
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(20, 24, 31)") == (scheme == "dark")


@pytest.mark.ui
def test_a_move_is_quick(page):
    milliseconds = []
    for _ in range(8):
        page.keyboard.press("1")
        milliseconds.append(page.evaluate("state.milliseconds"))
    assert min(milliseconds) < 1000  # 12 to 24 measured on a core that was not all its own
