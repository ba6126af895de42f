"""Fair controls, and the statements of the paper that need trainings of their own (PROTOCOL.md).

Named vectors as in measurements.py; `run_all.sh` does not measure them by default. `Control` keeps a
group of a profile and seed in the store.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor
from torch.func import jacrev, vmap

from lavae_companion import data
from lavae_companion.comparisons import CVAE, NonLinearMaps
from lavae_companion.experiments import (
    N_FITTED,
    FineTunedNative,
    FittedMaps,
    JointLAVAE,
    TrainedVAE,
    TransferHead,
    at_epochs,
    load_or_train,
)
from lavae_companion.paper import CVAE as CONDITIONAL
from lavae_companion.paper import (
    CVAE_LAVAE,
    FLIPS,
    HEATMAP_PAIRS,
    MAP_WEIGHTS,
    RECIPE,
    ROTATE_FLIP,
    SHEAR_CANNY,
    THREE,
    TO_ITSELF,
    WIDTHS,
    head_on,
)
from lavae_companion.profiles import PROFILES, Profile
from lavae_companion.results import geometry, measurements, scores
from lavae_companion.results.measurements import STEPS, Measurement, Vectors, inverses, lavae, named
from lavae_companion.results.transfer import published_wins
from lavae_companion.study import Study
from lavae_core import augmentations
from lavae_core.augmentations import Family, to_float
from lavae_core.latent_maps import LatentMaps, Moments, fit_exact
from lavae_core.models import LAVAE, encode, encode_variants
from lavae_core.runtime import generator

FAIR_HEAD = {"epochs": 4, "batch": 64}  # the best of the searched batches (schedule_search.csv)
N_KNOWN = 10_000  # training images of a classifier, and of a training error
DIGITS = range(10)


# -- CVAEs and VAEs that have seen as much as LAVAE ------------------------------------------------


def cvaes(study: Study) -> Vectors:
    """The LAVAE-style CVAE applied twice in sequence, and what the conditional one's outputs and
    latents show (Section V-C)."""
    images = study.variants(FLIPS)
    conditional, style = (study.cvae(FLIPS, how) for how in ("conditional", "lavae"))
    twice = in_sequence(style, images[0])
    sequence = scores.image_scores(lambda code: code, twice, images[3])[0]
    return (
        measurements.cvae(study, FLIPS, "lavae")
        | {f"{CVAE_LAVAE}, in sequence/composed/{FLIPS}": sequence}
        | plausible(study, conditional)
        | {f"probe/{CONDITIONAL}/{FLIPS}": variant_probe(study, conditional)}
    )


def in_sequence(cvae: CVAE, originals: Tensor) -> Tensor:
    """Logits (N, 1, 28, 28): originals (N, 28, 28) decoded into the first variant, and the output
    encoded as an original and decoded into the second."""
    _, first, _ = scores.cvae_outputs(cvae, FLIPS.singles, originals)
    shown = first.sigmoid().squeeze(1).mul(255).round().to(torch.uint8)
    return scores.cvae_outputs(cvae, FLIPS.singles, shown)[2]


def plausible(study: Study, cvae: CVAE) -> Vectors:
    """Share of a conditional CVAE's three augmented outputs, and of the test images themselves, that
    a classifier of the variant takes for the variant that was asked for."""
    known = augmentations.variants(
        study.setting.originals()[: geometry.N_LATENTS // 4], FLIPS, split="train",
        seed=study.setting.seed,
    )  # fmt: skip
    variants = torch.arange(4).repeat_interleave(known.shape[1])
    classifier = _classifier(known.flatten(0, 1), variants)
    images = study.variants(FLIPS)
    outputs = scores.cvae_outputs(cvae, FLIPS, images[0]).sigmoid().squeeze(2)
    return {
        f"plausible/{name}/{FLIPS}": torch.stack(
            [classifier(shown[place]) == place for place in (1, 2, 3)]
        ).float().mean(0)
        for name, shown in ((CONDITIONAL, outputs), ("images", images / 255))
    }  # fmt: skip


def variant_probe(study: Study, cvae: CVAE) -> Tensor:
    """(1,): accuracy of telling the variant from a conditional CVAE's latent, which needs none."""
    images = geometry.shuffled(study.variants(FLIPS), study.setting.seed)
    few = images[:, : geometry.N_LATENTS // len(images)]
    conditions = torch.eye(len(images)).to(images.device)
    with torch.no_grad():
        mu = [cvae.encode(to_float(each), condition.expand(len(each), -1))[0]
              for each, condition in zip(few, conditions, strict=True)]  # fmt: skip
    variants = [variant for variant in FLIPS.variants for _ in range(few.shape[1])]
    points = torch.cat(mu).cpu().numpy()
    return torch.tensor([geometry.accuracies(points, variants, study.setting.seed)["linear probe"]])


def _classifier(images: Tensor, labels: Tensor) -> Callable[[Tensor], Tensor]:
    """A function that gives images (N, 28, 28) in [0, 1] the label of their 15 nearest neighbours
    among uint8 images (M, 28, 28) with labels (M,)."""
    known = images.flatten(1).cpu().numpy() / 255
    neighbours = KNeighborsClassifier(geometry.NEIGHBOURS).fit(known, labels.cpu().numpy())
    return lambda shown: torch.from_numpy(neighbours.predict(shown.flatten(1).cpu().numpy()))


def vaes(study: Study) -> Vectors:
    """A VAE of originals that saw as many images as LAVAE; and the ratio of test to training error
    of originals, for it and for LAVAE."""
    profile, images = study.profile, study.variants(FLIPS)
    epochs = 4 * (profile.flips.epochs + (profile.start.epochs if profile.start else 0))
    matched = load_or_train(at_epochs(study.stage1(None), epochs))
    training = study.setting.originals()[:N_KNOWN].to(images.device)
    ratios = {}
    for name, model in (("LAVAE", study.lavae(FLIPS)), ("VAE, matched", matched)):
        error, seen = (
            scores.image_scores(model.decode, encode(model, each)[0], each)[0].mean()
            for each in (images[0], training)
        )
        ratios[f"test over training/{name}/{FLIPS}"] = (error / seen)[None]
    return ratios | named("VAE, matched", FLIPS, scores.directly_encoded(matched, FLIPS, images))


# -- maps ------------------------------------------------------------------------------------------


def nonlinear(study: Study) -> Vectors:
    """Non-linear maps of several widths (Section IV-B): each variant; and for the flips, the first
    variant led back to the original by a numerical inverse."""
    vectors = lavae(study, SHEAR_CANNY) | lavae(study, FLIPS) | inverses(study, FLIPS)
    model, images = study.lavae(FLIPS), study.variants(FLIPS)
    first, _ = encode(model, images[1])
    for width in WIDTHS:
        for family in (FLIPS, SHEAR_CANNY):
            vectors |= measurements.nonlinear(study, family, width)
        back = inverted(study.nonlinear(FLIPS, width), first, "L1")
        error = scores.image_scores(model.decode, back, images[0])[0]
        vectors[f"non-linear maps of width {width}, inverted/original/{FLIPS}"] = error
    return vectors


def inverted(maps: NonLinearMaps, targets: Tensor, word: str, steps: int = 50) -> Tensor:
    """Latents (N, d) that `maps` lead to `targets` (N, d), or as near as Levenberg-Marquardt comes
    in so many steps from the targets themselves."""

    def residual(z: Tensor, target: Tensor) -> Tensor:
        return maps(z[None], word)[0] - target

    z, identity = targets.clone(), torch.eye(targets.shape[1]).to(targets)
    damping = torch.ones(len(z), 1, 1).to(z)
    error = vmap(residual)(z, targets)
    for _ in range(steps):
        jacobian = vmap(jacrev(residual))(z, targets)
        transposed = jacobian.transpose(1, 2)
        step = torch.linalg.solve(
            transposed @ jacobian + damping * identity, transposed @ error[..., None]
        )[..., 0]
        tried = vmap(residual)(z - step, targets)
        better = (tried.square().sum(1) < error.square().sum(1))[:, None]
        z, error = torch.where(better, z - step, z), torch.where(better, tried, error)
        damping = damping * torch.where(better, 0.3, 3.0)[..., None]
    return z


def involution(study: Study) -> Vectors:
    """Distance of L^2 from I over the norm of I, a mean over the maps of the flips, with and without
    the order term (Section IV-B, lambda_inv); and each variant without it."""
    model, without = study.lavae(FLIPS), study.lavae(FLIPS, lambda_inv=0.0)
    images = study.variants(FLIPS)
    return (
        {
            f"order residual/{FLIPS}": _order_residual(model.maps),
            f"order residual, no order term/{FLIPS}": _order_residual(without.maps),
        }
        | named("LAVAE, no order term", FLIPS, scores.through_maps(without, FLIPS, images))
        | lavae(study, FLIPS)
    )


def _order_residual(maps: LatentMaps) -> Tensor:
    identity = torch.eye(maps.matrices.shape[-1]).to(maps.matrices)
    return ((maps.matrices @ maps.matrices - identity).norm(dim=(1, 2)) / identity.norm()).mean()[
        None
    ]


def few_examples(study: Study) -> Vectors:
    """Maps fitted to few originals and their variants, and to all digits but the one that is tested
    (Section I: "as long as training samples exist")."""
    model, images, setting = study.lavae(FLIPS), study.variants(FLIPS), study.setting
    pairs = augmentations.variants(
        setting.originals()[:N_FITTED], FLIPS.singles, split="train", seed=setting.seed
    )
    mu, logvar = encode_variants(model, pairs.to(images.device))

    def through(places: Tensor) -> scores.Scores:
        maps = LatentMaps(len(FLIPS.generators), mu.shape[-1]).to(mu)
        moments = Moments(mu[:, places], logvar[:, places].double().exp())
        maps.matrices.data = fit_exact(moments, FLIPS.orders).to(mu)
        return scores.through_maps(model, FLIPS, images, maps=maps)

    vectors = lavae(study, FLIPS)
    for count in (1000, 100):
        vectors |= named(
            f"LAVAE, maps of {count}", FLIPS, through(torch.arange(min(count, mu.shape[1])))
        )
    train = data.load("train", dataset=setting.dataset, limit=setting.n_train).labels
    labels, tested = train[:N_FITTED], study.test_set.labels
    unseen: scores.Scores = {}
    for digit in DIGITS:
        for variant, score in through((labels != digit).nonzero().flatten()).items():
            unseen.setdefault(variant, torch.zeros_like(score))
            unseen[variant] = torch.where(
                (tested == digit).to(score.device), score, unseen[variant]
            )
    return vectors | named("unseen digits", FLIPS, unseen)


def three(study: Study) -> Vectors:
    """A family of three generators: eight variants, four of them compositions (Section IV-B)."""
    return lavae(study, THREE)


def other_inverses(study: Study) -> Vectors:
    """Any-to-any for the pairs other than the flips (Section IV-C)."""
    return {name: v for pair in HEATMAP_PAIRS[1:] for name, v in inverses(study, pair).items()}


# -- recursion -------------------------------------------------------------------------------------


def recursions(study: Study) -> Vectors:
    """Recursion with other maps, general augmentations and perturbed starts, and changes of digit
    (Sections IV-C and V-A); and which digits a flip keeps (Section III-B)."""
    vectors = measurements.recursion(study, FLIPS, "L2") | measurements.recursion(
        study, FLIPS, "L1 L2"
    )
    for pair in HEATMAP_PAIRS[1:]:
        model, originals = study.lavae(pair), study.variants(pair)[0]
        for word, order in zip(model.maps.names, pair.orders, strict=True):
            outputs, _ = scores.recursion(model, originals, word, STEPS)
            vectors[f"settles under {word}/{pair}"] = settles(outputs, order or 1).float()
    model, images = study.lavae(FLIPS), study.variants(FLIPS)
    outputs, _ = scores.recursion(model, images[0], "L1", STEPS)
    stable = scores.stable(outputs)
    perturbed = scores.stable(_recursion_from_perturbed(study, model, images[0]))
    known, labels = study.setting.originals()[:N_KNOWN], _train_labels(study)[:N_KNOWN]
    digit_of, tested = _classifier(known, labels), study.test_set.labels
    kept = (digit_of(images[1] / 255) == tested).float()
    return vectors | {
        f"stable under L1/{FLIPS}": stable.float(),
        f"stable when perturbed/{FLIPS}": perturbed[stable].float(),
        f"stable when perturbed, all/{FLIPS}": perturbed.float(),
        f"digit changes/{FLIPS}": (digit_of(outputs[6]) != digit_of(outputs[2])).float(),
        "flip keeps the digit/0 8": kept[(tested == 0) | (tested == 8)],
        "flip keeps the digit/2 9": kept[(tested == 2) | (tested == 9)],
    }


def settles(outputs: Tensor, period: int) -> Tensor:
    """Whether a recursion (steps + 1, N, 28, 28) changes an image less in its last period than in
    its first after the first output, (N,). period: steps after which it should return."""
    first = (outputs[1 + period] - outputs[1]).square().sum((-2, -1))
    last = (outputs[-1] - outputs[-1 - period]).square().sum((-2, -1))
    return last < first


def _recursion_from_perturbed(study: Study, model: LAVAE, originals: Tensor) -> Tensor:
    """Recursion from decoded samples of the posteriors instead of the originals."""
    mu, logvar = encode(model, originals)
    noise = torch.randn(mu.shape, generator=generator("cpu", study.setting.seed, "perturbed")).to(
        mu
    )
    starts = scores.decoded(model, mu + (0.5 * logvar).exp() * noise, "")
    return scores.recursion(model, starts.mul(255).round().to(torch.uint8), "L1", STEPS)[0]


def _train_labels(study: Study) -> Tensor:
    setting = study.setting
    return data.load("train", dataset=setting.dataset, limit=setting.n_train).labels


# -- transfer and joint training -------------------------------------------------------------------


def heads(study: Study) -> Vectors:
    """Longer heads for the published wins and the two self-transfers, and native decoders trained
    on for as long, without noise (Section V-B)."""
    schedule = replace(study.profile.head, **FAIR_HEAD)
    vectors: Vectors = {}
    for trained, evaluated in (
        *published_wins(),
        *((pair, pair) for pair in (TO_ITSELF, SHEAR_CANNY)),
    ):
        maps, images = FittedMaps(study.stage1(trained)), study.variants(evaluated)
        model = load_or_train(TransferHead(maps, evaluated, schedule))
        by_variant = scores.through_maps(model, evaluated, images, str(evaluated))
        vectors |= named(f"{head_on(trained)}, 4 epochs", evaluated, by_variant)
        if trained == evaluated:
            tuned = load_or_train(FineTunedNative(maps, schedule))
            by_variant = scores.through_maps(tuned, evaluated, images, FineTunedNative.NAME)
            vectors |= named("native, fine-tuned", evaluated, by_variant) | lavae(study, evaluated)
    return vectors


def joint(study: Study) -> Vectors:
    """Joint training with several weights of the map error, maps fitted afterwards (Section IV-B)."""
    profile, vectors = study.profile, {}
    for pair in (FLIPS, ROTATE_FLIP):
        start, images = study.stage1(pair).start, study.variants(pair)
        for weight in MAP_WEIGHTS:
            trained = JointLAVAE(
                study.setting, pair, profile.joint, profile.antithetic, start, map_weight=weight
            )
            by_variant = scores.through_maps(load_or_train(FittedMaps(trained)), pair, images)
            vectors |= named(f"joint training, refitted, weight {weight:g}", pair, by_variant)
        vectors |= lavae(study, pair)
    return vectors


# -- curves over training length -------------------------------------------------------------------


def at_length(epochs: int) -> Profile:
    """The paper's recipe (random weights, one sample, batches of 64, constant 1e-3) for so many
    epochs of stage 1, a VAE of originals and a LAVAE-style CVAE for four times as many; stage 2 stays exact, non-linear maps
    those of the profile quick.

    Measured with it, a claim's statistic is a point of its curve over training length. Begin with the
    longest: it keeps the states of the shorter ones.
    """
    paper = PROFILES["paper"]
    schedules = {name: replace(getattr(paper, name), epochs=epochs)
                 for name in ("flips", "base", "cvae", "joint", "head")}  # fmt: skip
    schedules |= {name: replace(getattr(paper, name), epochs=4 * epochs)
                  for name in ("cvae_lavae", "vae")}  # fmt: skip
    return replace(paper, maps=PROFILES["quick"].maps, **schedules)


def recipe(study: Study, epochs: int, family: Family = FLIPS) -> Vectors:
    """The paper's recipe of stage 1 for so many epochs, with exact maps."""
    stage1 = at_epochs(TrainedVAE(study.setting, family, PROFILES["paper"].base), epochs)
    model, images = load_or_train(FittedMaps(stage1)), study.variants(family)
    return named(f"{RECIPE}, {epochs} epochs", family, scores.through_maps(model, family, images)) | named(
        f"{RECIPE}, directly encoded, {epochs} epochs", family,
        scores.directly_encoded(model, family, images),
    )  # fmt: skip


# -- groups ----------------------------------------------------------------------------------------

GROUPS: dict[str, Callable[[Study], Vectors]] = {
    "involution": involution,
    "few examples": few_examples,
    "inverses": other_inverses,
    "recursions": recursions,
    "non-linear": nonlinear,
    "cvaes": cvaes,
    "vaes": vaes,
    "heads": heads,
    "joint weights": joint,
    "three": three,
    "recipe": lambda study: recipe(study, 4),
}


@dataclass(frozen=True)
class Control(Measurement):
    """One group of controls of a profile and seed."""

    @property
    def groups(self) -> Mapping[str, Callable[[Study], Vectors]]:
        return GROUPS

    @property
    def families(self) -> list[Family]:
        return [*super().families, THREE]
