"""What the claims are judged on: numbers of every test image, for one seed of a profile.

Each function measures one thing for a family, and is called by the notebook that shows it and by the
sweep over seeds that judges it. Its result is a dictionary of named vectors: one number for each
test image ("LAVAE/composed/flip_lr,flip_ud": BCE by model, variant and family), or a single number
("probe/flip_lr,flip_ud").
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from lavae_companion import store
from lavae_companion.comparisons import WIDTH
from lavae_companion.experiments import (
    TENSORS,
    Experiment,
    Setting,
    TrainedThroughMaps,
    load_or_train,
)
from lavae_companion.paper import CVAE as CONDITIONAL
from lavae_companion.paper import (
    CVAE_LAVAE,
    FLIPS,
    HEATMAP_PAIRS,
    PAIRS,
    ROTATE_FLIP,
    TO_ITSELF,
    head_on,
)  # fmt: skip
from lavae_companion.profiles import Profile
from lavae_companion.results import geometry, scores, transfer
from lavae_companion.results.scores import Scores
from lavae_companion.study import Study
from lavae_core.augmentations import PAIR_VARIANTS, Family
from lavae_core.errors import InvalidInputError, require_known, require_seed
from lavae_core.models import LATENT_DIM, LAVAE, NATIVE, encode
from lavae_core.runtime import generator

Vectors = dict[str, Tensor]

STEPS = 7  # of a recursion, as in Figure 5
N_SAMPLES = 1000  # of the bounding box
COVERAGE = 0.9  # of the bounding box, in each dimension


def means(vectors: Mapping[str, Tensor]) -> dict[str, float]:
    """The mean of each vector."""
    return {name: float(vector.double().mean()) for name, vector in vectors.items()}


def table(
    vectors: Mapping[str, Tensor], family: Family | str, models: Sequence[str]
) -> pd.DataFrame:
    """Mean BCE per test image: a row for each model, a column for each variant and the total.

    models: names such as "LAVAE"; "LAVAE, SSE" is its squared error.
    """
    parsed, mean = Family.parse(family), means(vectors)
    columns = [*parsed.variants, "total"]
    rows = [[mean[f"{model}/{variant}/{parsed}"] for variant in columns] for model in models]
    return pd.DataFrame(rows, index=models, columns=columns)


# -- one thing for one family --------------------------------------------------------------------


def lavae(study: Study, family: Family | str, mu: Tensor | None = None) -> Vectors:
    """Through the maps ("LAVAE"), directly encoded, and the mean image of every variant.
    mu: posterior means (N, 16) of the originals, if known."""
    parsed = Family.parse(family)
    images, model = study.variants(parsed), study.lavae(parsed)
    mu = encode(model, images[0])[0] if mu is None else mu
    return (
        named("LAVAE", parsed, scores.through_maps(model, parsed, images, mu=mu))
        | named("directly encoded", parsed, scores.directly_encoded(model, parsed, images, mu))
        | _mean_image(study, parsed)
    )


def _mean_image(study: Study, family: Family) -> Vectors:
    images, means = study.variants(family), study.mean_images(family)
    return named("mean image", family, scores.mean_image(family, images, means))


def rivals(study: Study, family: Family | str) -> Vectors:
    """Table I's other models: both CVAEs, and a VAE of the originals that is shown each variant;
    for the pair of flips, also the same VAE shown the original, with its output flipped."""
    parsed = Family.parse(family)
    images, vae = study.variants(parsed), study.vae()
    vectors = (
        cvae(study, parsed, "conditional")
        | cvae(study, parsed, "lavae")
        | named("VAE", parsed, scores.directly_encoded(vae, parsed, images))
    )
    if parsed == FLIPS:
        vectors |= named("VAE, output flipped", parsed, scores.flipped_outputs(vae, parsed, images))
    return vectors


def cvae(study: Study, family: Family | str, how: str) -> Vectors:
    """A CVAE of Section V-C; how: "conditional" or "lavae"."""
    parsed = Family.parse(family)
    name, trained = (CONDITIONAL, parsed) if how == "conditional" else (CVAE_LAVAE, parsed.singles)
    model, images = study.cvae(parsed, how), study.variants(parsed)
    return named(name, parsed, scores.by_condition(model, parsed, images, trained))


def parameters(model: LAVAE) -> Vectors:
    """Numbers of parameters: of encoder and native decoder, and of a latent map."""
    dims = model.maps.matrices.shape[-1]
    size = "" if dims == LATENT_DIM else f", {dims} latent dimensions"
    networks = (model.encoder, model.decoders[NATIVE])
    count = sum(p.numel() for network in networks for p in network.parameters())
    return {
        f"parameters/networks{size}": torch.tensor([count]),
        f"parameters/map{size}": torch.tensor([dims**2]),
    }


def inverses(study: Study, family: Family | str) -> Vectors:
    """BCE of each image, a mean over all routes between two variants ("any to any"), and of each
    image from its own encoding ("no route"), a mean over the variants; and of the route that is
    worst against direct encoding of its target."""
    parsed = Family.parse(family)
    images, model = study.variants(parsed), study.lavae(parsed)
    routes = scores.any_to_any(model, parsed, images)
    direct = {
        name: each[0] for name, each in scores.directly_encoded(model, parsed, images).items()
    }
    worst = max(routes, key=lambda route: float(routes[route].mean() / direct[route[1]].mean()))
    return {
        f"worst route/{parsed}": routes[worst],
        f"worst route, directly encoded/{parsed}": direct[worst[1]],
        f"any to any/{parsed}": torch.stack(list(routes.values())).mean(0),
        f"no route/{parsed}": torch.stack(list(direct.values())).mean(0),
        **{f"{source} to {target}/{parsed}": each for (source, target), each in routes.items()},
        **{f"{variant} to {variant}/{parsed}": each for variant, each in direct.items()},
    }


def routes(vectors: Vectors, family: Family | str) -> pd.DataFrame:
    """Mean BCE from the encoding of each variant (rows) to each variant (columns), of `inverses`."""
    parsed, mean = Family.parse(family), means(vectors)
    names = parsed.variants
    rows = [[mean[f"{source} to {target}/{parsed}"] for target in names] for source in names]
    return pd.DataFrame(rows, index=names, columns=names)


def reverse(study: Study, pair: Family | str) -> Vectors:
    """The reverse composition z L2 L1, against the image of the trained order A2(A1(x)) and against
    A1(A2(x)), and A1(A2(x)) directly encoded; and where both orders give the same image (1) or not
    (0). Nothing for a family that is no pair."""
    parsed = Family.parse(pair)
    if parsed.variants != PAIR_VARIANTS:
        return {}
    images, model, swapped = study.variants(parsed), study.lavae(parsed), study.swapped(parsed)
    return {
        f"reverse/{parsed}": scores.reverse(model, images[0], images[3])[0],
        f"reverse, A1(A2(x))/{parsed}": scores.reverse(model, images[0], swapped)[0],
        f"directly encoded, A1(A2(x))/{parsed}": scores.image_scores(
            model.decode, encode(model, swapped)[0], swapped
        )[0],
    } | orders_agree(study, parsed)


def orders_agree(study: Study, pair: Family | str) -> Vectors:
    """1 for each test image whose compositions in both orders are the same image, else 0. Raises
    InvalidInputError for a family without the four variants of a pair."""
    parsed = Family.parse(pair)
    if parsed.variants != PAIR_VARIANTS:
        raise InvalidInputError(f"only a pair has two orders to compare, got the family {parsed}")
    same = (study.variants(parsed)[3] == study.swapped(parsed)).flatten(1).all(1)
    return {f"orders agree/{parsed}": same.float()}


def recursion(
    study: Study,
    family: Family | str,
    word: str = "L1",
    steps: int = STEPS,
    n_images: int | None = None,
) -> Vectors:
    """1 for each test image whose recursion under `word` is stable (scores.stable), else 0.

    n_images: so many, drawn with the seed; None: all.
    """
    parsed = Family.parse(family)
    images = study.variants(parsed)
    if n_images is not None:
        images = geometry.shuffled(images, study.setting.seed)[:, :n_images]
    outputs, _ = scores.recursion(study.lavae(parsed), images[0], word, steps)
    name = f"stable under {word}" if steps == STEPS else f"stable under {word} for {steps} steps"
    return {f"{name}/{parsed}": scores.stable(outputs).float()}


def heads(study: Study, trained: Family | str, evaluated: Family | str) -> Vectors:
    """A transfer head on the space of `trained` for the variants of `evaluated` (stage 3)."""
    source, target = Family.parse(trained), Family.parse(evaluated)
    return _head(study, source, target) | _mean_image(study, target)


def _head(study: Study, source: Family, target: Family, mu: Tensor | None = None) -> Vectors:
    model, images = study.transfer(source, target), study.variants(target)
    by_variant = scores.through_maps(model, target, images, str(target), mu=mu)
    return named(head_on(source), target, by_variant)


def heatmap(study: Study, families: Sequence[Family]) -> Vectors:
    """Figure 7: every family's native decoder, and a head on every space for every family.

    A head leaves the encoder as it was, so every space encodes the originals once.
    """
    originals = {family: study.variants(family)[0] for family in families}
    means = {family: encode(study.lavae(family), x)[0] for family, x in originals.items()}
    vectors: Vectors = {}
    for evaluated in families:
        vectors |= lavae(study, evaluated, means[evaluated])
        for trained in families:
            vectors |= _head(study, trained, evaluated, means[trained])
    return vectors


def nonlinear(study: Study, family: Family | str, width: int = WIDTH) -> Vectors:
    """Through non-linear maps (ablation of Section IV-B); width: hidden units."""
    parsed = Family.parse(family)
    model, images = study.lavae(parsed), study.variants(parsed)
    by_variant = scores.through_maps(model, parsed, images, maps=study.nonlinear(parsed, width))
    return named(f"non-linear maps of width {width}", parsed, by_variant)


def joint(study: Study, family: Family | str) -> Vectors:
    """Stages 1 and 2 trained jointly, through the maps and directly encoded."""
    parsed = Family.parse(family)
    model, images = study.joint(parsed), study.variants(parsed)
    return named("joint training", parsed, scores.through_maps(model, parsed, images)) | named(
        "joint training, directly encoded", parsed, scores.directly_encoded(model, parsed, images)
    )


def trained_through_maps(
    study: Study, family: Family | str, name: str = "through the maps", **options
) -> Vectors:
    """As `joint`, of a model trained through the maps; options: of Study.through_maps."""
    parsed = Family.parse(family)
    model, images = study.through_maps(parsed, **options), study.variants(parsed)
    return named(name, parsed, scores.through_maps(model, parsed, images)) | named(
        f"{name}, directly encoded", parsed, scores.directly_encoded(model, parsed, images)
    )


def identity(study: Study, pair: Family | str) -> Vectors:
    """Whether augmented outputs still show the image that was encoded, for the pair of flips.

    "identity": share of the three augmented outputs that, flipped back, are nearest among all test
    originals to the one they were made from; "copies": the same without flipping back.
    """
    parsed = Family.parse(pair)
    require_known("pair whose augmentations are undone by themselves:", str(parsed), [str(FLIPS)])
    images, model = study.variants(parsed), study.lavae(parsed)
    mu, _ = encode(model, images[0])
    words = list(parsed.latent_words.values())[1:]
    by_condition = scores.cvae_outputs(study.cvae(parsed, "conditional"), parsed, images[0])
    outputs = {
        "LAVAE": [scores.decoded(model, mu, word) for word in words],
        CONDITIONAL: list(by_condition[1:].sigmoid().squeeze(2)),
    }
    undo = ((-1,), (-2,), (-2, -1))  # flips are their own inverses
    known = images[0].flatten(1).float().div(255)
    vectors = {}
    for model_name, augmented in outputs.items():
        back = [image.flip(axes) for image, axes in zip(augmented, undo, strict=True)]
        for what, compared in (("identity", back), ("copies", augmented)):
            shares = [_nearest_is_itself(image, known).float() for image in compared]
            vectors[f"{what}/{model_name}/{parsed}"] = torch.stack(shares).mean(0)
    return vectors


def _nearest_is_itself(images: Tensor, known: Tensor) -> Tensor:
    squares, result = known.square().sum(1), []
    for start, part in zip(range(0, len(images), 1000), images.flatten(1).split(1000), strict=True):
        nearest = (squares - 2 * part @ known.t()).argmin(1)
        result.append(nearest == torch.arange(start, start + len(part)).to(nearest))
    return torch.cat(result)


def separation(study: Study, family: Family | str) -> Vectors:
    """Accuracy of telling the variants apart from the latent, the ratio of the regions' sizes, and
    for a pair the larger asymmetry of its two augmentations."""
    parsed = Family.parse(family)
    images = geometry.shuffled(study.variants(parsed), study.setting.seed)
    points, variants = geometry.variant_latents(
        study.lavae(parsed), parsed, images, geometry.N_LATENTS
    )
    accuracies = geometry.accuracies(points, variants, study.setting.seed)
    vectors = {
        f"probe/{parsed}": torch.tensor([accuracies["linear probe"]]),
        f"neighbours/{parsed}": torch.tensor([accuracies["15 neighbours"]]),
    }
    regions = points.reshape(len(parsed.words), -1, points.shape[1])
    vectors[f"region sizes/{parsed}"] = torch.tensor([geometry.size_ratio(regions)])
    if parsed.variants != PAIR_VARIANTS:
        return vectors
    worst = max(geometry.asymmetry(regions[0], single) for single in regions[1:3])
    return vectors | {f"asymmetry/{parsed}": torch.tensor([worst])}


def box_samples(study: Study, family: Family | str, coverage: float = COVERAGE) -> Tensor:
    """1,000 latents (1000, 16) from the bounding box of the training originals' latents."""
    low, high = geometry.bounding_box(study.latents(family), coverage)
    source = generator("cpu", study.setting.seed, "bounding box")
    return geometry.sample_box(low, high, N_SAMPLES, source)


def sampling(study: Study, family: Family | str, coverage: float = COVERAGE) -> Vectors:
    """1 where 15 neighbours classify a sample of the originals' box, of the prior, or a test
    original, as an original (Section V-A, Appendix D)."""
    parsed, seed = Family.parse(family), study.setting.seed
    model, images = study.lavae(parsed), geometry.shuffled(study.variants(parsed), seed)
    originals, _ = encode(model, images[0, : images.shape[1] // 2])
    box = box_samples(study, parsed, coverage)
    prior = torch.randn(box.shape, generator=generator("cpu", seed, "prior")).to(box)
    shares = geometry.classified_as_originals(model, parsed, images, box, prior, originals)
    names = "box samples", "prior samples", "originals"
    return {
        f"{name} are originals/{parsed}": torch.from_numpy(share).float()
        for name, share in zip(names, shares, strict=True)
    }


def rank_correlations(vectors: Vectors, families: Sequence[Family]) -> Vectors:
    """Spearman's rho of transfer error and separability of the frozen space (Section V-B), and of
    the transfers and the published ones (Figure 7), where all of its pairs are there."""
    table = transfer.cells(means(vectors), families)
    rhos = {name: transfer.rank_correlation(table, name) for name in transfer.SEPARABILITIES}
    if tuple(families) == HEATMAP_PAIRS:
        rhos["published cells"] = transfer.agreement(table)
    return {f"rho/{name}": torch.tensor([rho]) for name, rho in rhos.items()}


def named(model: str, family: Family, by_variant: Scores) -> Vectors:
    """Scores under their names, with sums over variants: "total"; "singles", those of one letter;
    "trained", the original and these; "compositions", the others."""
    words = dict(zip(family.variants, family.words, strict=True))
    singles = [variant for variant, word in words.items() if word in family.letters]
    kinds = {
        "total": family.variants,
        "singles": singles,
        "trained": ["original", *singles],
        "compositions": [v for v in family.variants if v not in ("original", *singles)],
    }
    vectors = {}
    for place, name in enumerate((model, f"{model}, SSE")):
        each = {variant: pair[place] for variant, pair in by_variant.items()}
        sums = {
            kind: torch.stack([each[v] for v in chosen]).sum(0)
            for kind, chosen in kinds.items()
            if chosen
        }
        vectors |= {
            f"{name}/{variant}/{family}": vector for variant, vector in (each | sums).items()
        }
    return vectors


# -- groups: the tasks of a sweep over seeds -----------------------------------------------------


def _flips(study: Study) -> Vectors:
    return (
        parameters(study.lavae(FLIPS)) | lavae(study, FLIPS) | rivals(study, FLIPS) | inverses(study, FLIPS)
        | recursion(study, FLIPS) | identity(study, FLIPS) | sampling(study, FLIPS)
        | nonlinear(study, FLIPS)
    )  # fmt: skip


def _transfers(study: Study) -> Vectors:
    pairs = study.heatmap_pairs()
    vectors = heatmap(study, pairs)
    for pair in pairs:
        vectors |= reverse(study, pair) | separation(study, pair)
    vectors |= rank_correlations(vectors, pairs)
    return vectors | heatmap(study, [TO_ITSELF]) | heads(study, FLIPS, TO_ITSELF)


def _joint(study: Study) -> Vectors:
    return lavae(study, ROTATE_FLIP) | joint(study, ROTATE_FLIP)


GROUPS: dict[str, Callable[[Study], Vectors]] = {
    "flips": _flips,
    "transfers": _transfers,
    "joint": _joint,
}


@dataclass(frozen=True)
class Measurement(Experiment):
    """One group of a profile and seed. VERSION is raised when what is measured changes."""

    KIND = "measurement"
    VERSION = 5
    setting: Setting
    profile: Profile
    group: str

    def __post_init__(self) -> None:
        require_known("group of measurements", self.group, self.groups)

    @property
    def groups(self) -> Mapping[str, Callable[[Study], Vectors]]:
        return GROUPS

    @property
    def families(self) -> list[Family]:
        """All of the paper's pairs, so that every augmentation a group might use is in the key."""
        return list(PAIRS)

    def spec(self) -> dict[str, Any]:
        """Also the versions of all experiments, for the same reason."""
        return super().spec() | {
            "versions": {
                kind.KIND: kind.VERSION
                for kind in _kinds(Experiment)
                if kind is not TrainedThroughMaps  # no group measures it yet
            }
        }

    @property
    def label(self) -> str:
        return f"{self.group}, seed {self.setting.seed}"

    def make(self, folder: Path, checkpoint: Path) -> dict[str, Any]:
        return self._write(self.groups[self.group](Study.of(self.profile, self.setting)), folder)

    def keep(self, vectors: Vectors) -> None:
        """Put what was measured on another machine into the store of this one."""
        store.get_or_make(
            self.KIND, self.spec(), lambda folder, _: self._write(vectors, folder), self.load
        )

    def _write(self, vectors: Vectors, folder: Path) -> dict[str, Any]:
        own = {
            k: v.float().cpu().contiguous().clone() for k, v in vectors.items()
        }  # shared: refused
        save_file(own, folder / TENSORS)
        return {}

    def load(self, folder: Path) -> Vectors:
        return load_file(folder / TENSORS)


def _kinds(base: type[Experiment]) -> list[type[Experiment]]:
    """All experiments below `base`, those of several generations too; one without a KIND is none."""
    kinds = [kind for each in base.__subclasses__() for kind in (each, *_kinds(each))]
    return [kind for kind in kinds if "KIND" in vars(kind)]


def study_of(profile: str, seeds: Sequence[int], device: str) -> Study:
    """The study of the first of `seeds`. Raises InvalidInputError where there is none, or for one that
    is not allowed."""
    if not isinstance(seeds, Sequence) or not seeds:
        raise InvalidInputError(f"seeds must be a list such as [0], got {seeds!r}")
    for seed in seeds:
        require_seed(seed)
    return Study(profile, seeds[0], device)


def by_seed(
    study: Study,
    seeds: Sequence[int],
    groups: Iterable[str] = tuple(GROUPS),
    kind: type[Measurement] = Measurement,
) -> dict[int, Vectors]:
    """The vectors of these seeds and groups, from the store or measured now.

    study: profile, device and data set; its own seed is not added. kind: whose groups.
    Raises InvalidInputError for a seed that is not allowed, before anything is measured.
    """
    for seed in seeds:
        require_seed(seed)
    return {
        seed: {
            name: vector
            for group in groups
            for name, vector in load_or_train(
                kind(replace(study.setting, seed=seed), study.profile, group)
            ).items()
        }
        for seed in seeds
    }
