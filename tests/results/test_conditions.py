"""CVAEs with other codes, prescribed maps, and a stage 1 that knows the class."""

import pytest
import torch
from made_up import FLIPS, Perfect, spread, uint8_images
from torch.testing import assert_close

from lavae_companion import store
from lavae_companion.beyond import conditions
from lavae_companion.beyond.conditions import (
    CODES,
    ClassObjective,
    ClassVAE,
    CodedCVAE,
    CodedObjective,
    Prescribed,
)
from lavae_companion.beyond.prescribed import PrescribedObjective
from lavae_companion.comparisons import CVAE, LavaeStyleObjective
from lavae_companion.experiments import load_or_train
from lavae_companion.study import Study
from lavae_core.augmentations import Family
from lavae_core.errors import InvalidInputError
from lavae_core.models import LAVAE
from lavae_core.training import Schedule

SHORT = Schedule(epochs=0.5, batch=8, lr=1e-3, warmup=0)


def source() -> torch.Generator:
    return torch.Generator().manual_seed(3)


@pytest.mark.parametrize("name", CODES)
def test_the_composition_is_a_code_of_its_own(name):
    code = conditions.codes(name)
    assert len(code.unique(dim=0)) == 4
    affine = code[1] + code[2] - code[0]
    assert torch.equal(code[3], affine) == (name in ("one-hot, affine", "signs"))


def test_one_hots_are_the_paper_s_cvae_and_other_codes_are_not():
    model, images, index = spread(CVAE(n_conditions=3)), uint8_images(3, 4), torch.arange(4)
    plain = LavaeStyleObjective(model, images).losses(index, source())
    one_hot = CodedObjective(model, images, False, conditions.codes("one-hot")[:3])
    assert one_hot.losses(index, source()) == plain
    other = CodedObjective(model, images, False, conditions.codes("signs and product")[:3])
    assert other.losses(index, source()) != plain


def test_the_bce_of_a_condition_is_that_of_the_decoded_original():
    model, images = spread(CVAE(n_conditions=2)).requires_grad_(False), uint8_images(4, 3)
    code = conditions.codes("signs")
    bce = conditions.coded_bce(model, code, images)
    mu, _ = model.encode(images[0, :, None] / 255, code[:1].expand(3, -1))
    logits = model.decode(mu, code[3:].expand(3, -1))
    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        logits, images[3, :, None] / 255, reduction="none"
    ).sum((1, 2, 3))
    assert_close(bce[3], expected)
    assert bce.shape == (4, 3)


def test_prescribed_maps_are_commuting_involutions_on_k_dimensions():
    for k in (0, 2, 4, 8, 16):
        one, two = conditions.prescribed_maps(16, k)
        for product in (one @ one, two @ two, one @ two @ one @ two):
            assert torch.equal(product, torch.eye(16))
        acts = (one.diagonal() < 0) | (two.diagonal() < 0)
        assert acts.sum() == {0: 0, 2: 2, 4: 3, 8: 6, 16: 12}[k]
    assert (one.trace(), two.trace(), (one @ two).trace()) == (0, 0, 0)


def test_training_goes_through_the_prescribed_maps():
    model, images = spread(LAVAE()), uint8_images(4, 3)
    model.maps.matrices.data = conditions.prescribed_maps(16, 4)
    objective = PrescribedObjective(model, images, [1, 2], 1.0, False)
    losses = objective.losses(torch.arange(3), source())
    assert torch.equal(model.maps.matrices, conditions.prescribed_maps(16, 4))
    noise = torch.randn(12, 16, generator=source())
    mu, logvar = model.encode(images.flatten(0, 1)[:, None] / 255)
    z = (mu + (0.5 * logvar).exp() * noise)[:3]
    total = sum(
        torch.nn.functional.binary_cross_entropy_with_logits(
            model.decode(z @ model.maps.matrices[i]), images[i + 1, :, None] / 255, reduction="sum"
        )
        for i in (0, 1)
    )
    assert_close(losses["maps"], total)
    assert losses["maps"].requires_grad


def test_a_perfect_model_of_signs_has_prescribed_maps():
    """The regular representation of the flips: the maps of a perfect model, diagonalised."""
    one, two = Perfect().maps.matrices
    hadamard = torch.tensor([[1.0, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]])
    order = [1, 2, 3, 0]  # of the characters
    basis = torch.kron(hadamard[order].contiguous(), torch.eye(4)) / 2
    diagonal = [(basis @ each @ basis.t()).diagonal() for each in (one, two)]
    prescribed = conditions.prescribed_maps(16, 16).diagonal(dim1=1, dim2=2)
    sort = [i + 4 * j for i in range(4) for j in range(4)]
    assert_close(torch.stack(diagonal)[:, sort], prescribed)


def test_the_class_is_given_to_encoder_and_decoder():
    model, images = spread(CVAE(n_conditions=10)), uint8_images(4, 3)
    labels = torch.tensor([1, 9, 0])
    objective = ClassObjective(model, images, conditions.one_hots(labels), False)
    losses = objective.losses(torch.tensor([0, 5]), source())  # original 0, and 2 under A1
    x = torch.stack([images[0, 0], images[1, 2]])[:, None] / 255
    given = torch.eye(10)[[1, 0]]
    mu, logvar = model.encode(x, given)
    z = mu + (0.5 * logvar).exp() * torch.randn(2, 16, generator=source())
    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        model.decode(z, given), x, reduction="sum"
    )
    assert_close(losses["reconstruction"], expected)
    latents = conditions.class_latents(model, images, labels)
    assert latents.shape == (4, 3, 16)
    assert_close(latents[0, :1], mu[:1])


def test_each_experiment_trains_and_loads(setting):
    coded = load_or_train(CodedCVAE(setting, FLIPS, "signs", schedule=SHORT))
    assert coded.encoder.to_mu.in_features == 6274
    model = load_or_train(Prescribed(setting, FLIPS, SHORT, k=4))
    assert torch.equal(model.maps.matrices, conditions.prescribed_maps(16, 4))
    known = load_or_train(ClassVAE(setting, FLIPS, schedule=SHORT))
    assert known.encoder.to_mu.in_features == 6282


SQUARE = Family.parse("rotate_cw,flip_lr")
REFUSED = {
    "an unknown code": (lambda: conditions.codes("thermometer"), "thermometer"),
    "a turn of order 4": (lambda: conditions.require_commuting_involutions(SQUARE), "rotate_cw"),
    "three generators": (
        lambda: conditions.require_commuting_involutions(
            Family.parse("flip_lr,flip_ud,rotate_cw")), "rotate_cw"),
    "fewer variants": (
        lambda: conditions.require_commuting_involutions(FLIPS.singles), "A1, A2"),
    "k beyond d": (lambda: conditions.prescribed_maps(16, 17), "17"),
    "negative k": (lambda: conditions.prescribed_maps(16, -1), "-1"),
}  # fmt: skip


@pytest.mark.parametrize(("ask", "value"), REFUSED.values(), ids=REFUSED)
def test_requests_that_are_refused(ask, value):
    with pytest.raises(InvalidInputError, match=value):
        ask()


def test_the_models_of_a_profile_are_trained_on_as_many_images(mnist, home, monkeypatch):
    monkeypatch.setattr(conditions, "load_or_train", lambda experiment: experiment)
    study = Study("smoke")
    coded, bound = (conditions.coded(study, FLIPS, "signs", each) for each in (False, True))
    assert 3 * coded.schedule.epochs == 4 * bound.schedule.epochs == 4 * study.profile.base.epochs
    prescribed, random = (
        conditions.prescribed(study, FLIPS, 4, each) for each in conditions.STARTS
    )
    assert prescribed.schedule == study.profile.base and prescribed.k == prescribed.spec()["k"] == 4
    assert prescribed.start == study.stage1(FLIPS).start and random.start is None
    known = conditions.class_vae(study, FLIPS)
    assert known.schedule.epochs == study.profile.base.epochs
    keys = {store.key_of(each.spec()) for each in (coded, bound, prescribed, random, known)}
    assert len(keys) == 5
