"""What a claim is judged on: numbers of every test image (or of a seed), for one seed of a profile.

Three groups can be measured on their own, so that a sweep over seeds runs them as separate tasks.
Each is an experiment of the store: its models are trained when they are missing, and what was
measured is kept. A measurement is a dictionary of named vectors: one number for each test image
("bce/LAVAE/composed"), or a single one ("probe/flip_lr,flip_ud").
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from lavae_core import artifacts, evaluation, projections, seeding, separability
from lavae_core.augmentations import VARIANTS
from lavae_core.errors import InvalidInputError, require_known
from lavae_core.experiments import TENSORS, Experiment, Setting, encode, load_or_train
from lavae_core.latent_maps import REVERSE
from lavae_core.paper import FLIPS, PAIRS, TO_ITSELF
from lavae_core.profiles import Profile
from lavae_core.study import Study

Vectors = dict[str, Tensor]

JOINT_PAIR = "rotate_cw,flip_lr"
STEPS = 7  # of a recursion, as in Figure 5
N_SAMPLES = 1000  # of the bounding box
COVERAGE = 0.9  # of the bounding box, as in the notebook of Appendix D


def flips(study: Study) -> Vectors:
    """Everything that needs one pair only: Table I and the claims about the maps of the flips."""
    images, model = study.variants(FLIPS), study.lavae(FLIPS)
    scores = {
        "LAVAE": evaluation.lavae_image_scores(model, images),
        "CVAE": evaluation.cvae_image_scores(study.cvae(FLIPS, "conditional"), images),
        "CVAE, LAVAE training": evaluation.cvae_image_scores(study.cvae(FLIPS, "lavae"), images),
        "VAE": evaluation.autoencoding_image_scores(study.vae(), images),
        "own latent": evaluation.autoencoding_image_scores(model, images),
        "non-linear": evaluation.lavae_image_scores(model, images, maps=study.nonlinear(FLIPS)),
    }
    found = {}
    for name, by_variant in scores.items():
        found |= _bce(name, by_variant)
    found["bce/own latent/mean"] = found["bce/own latent/total"] / len(VARIANTS)
    found["bce/any to any"] = _any_to_any(model, images)
    found |= _reverse(study, FLIPS)
    found |= _recursion(model, images[0])
    found |= _identity(study, images)
    return found | _box(study, model, images)


def heatmap(study: Study) -> Vectors:
    """Figure 7 and what may explain it: every pair on every pair, and how separable each space is."""
    pairs, found = study.heatmap_pairs(), {}
    for evaluated in pairs:
        found |= _column(study, pairs, evaluated)
    for pair in pairs:
        found |= _reverse(study, pair) | _geometry(study, pair)
    return found | _column(study, [TO_ITSELF], TO_ITSELF)


def _column(study: Study, pairs: list[str], evaluated: str) -> Vectors:
    """A column of Figure 7: the native decoder of a pair, and its heads on the spaces of `pairs`."""
    images = study.variants(evaluated)
    native = evaluation.lavae_image_scores(study.lavae(evaluated), images)
    found = {f"native/{evaluated}": _total(native)}
    for trained in pairs:
        model = study.transfer(trained, evaluated)
        by_variant = evaluation.lavae_image_scores(model, images, evaluated)
        found[f"transfer/{trained}/{evaluated}"] = _total(by_variant)
    return found


def joint(study: Study) -> Vectors:
    """Stages 1 and 2 at once, beside two stages of as many images."""
    images, found = study.variants(JOINT_PAIR), {}
    for name, model in (
        ("two stages", study.lavae(JOINT_PAIR)),
        ("at once", study.joint(JOINT_PAIR)),
    ):
        found |= _bce(f"{name}, mapped", evaluation.lavae_image_scores(model, images))
        found |= _bce(f"{name}, own latent", evaluation.autoencoding_image_scores(model, images))
    return found


GROUPS: dict[str, Callable[[Study], Vectors]] = {"flips": flips, "heatmap": heatmap, "joint": joint}


@dataclass(frozen=True)
class Measurement(Experiment):
    """One group of a profile and seed. VERSION is raised when what is measured changes."""

    KIND = "measurement"
    VERSION = 3
    setting: Setting
    profile: Profile
    group: str

    def __post_init__(self) -> None:
        require_known("group of measurements", self.group, GROUPS)

    @property
    def pairs(self) -> list[str]:
        """All of the paper's: which of them a group stands on is its own affair."""
        return list(PAIRS)

    def spec(self) -> dict[str, Any]:
        """Also the versions of all experiments, for the same reason."""
        return super().spec() | {
            "versions": {kind.KIND: kind.VERSION for kind in _kinds(Experiment)}
        }

    @property
    def label(self) -> str:
        return f"{self.group}, seed {self.setting.seed}"

    def make(self, folder: Path, checkpoint: Path) -> dict[str, Any]:
        study = Study(self.profile.name, self.setting.seed, self.setting.runtime.device)
        if study.setting != self.setting:  # a cluster's worker may have another kind of processor
            raise InvalidInputError(
                f"{self.label}: this machine computes in {study.setting.runtime.precision}, the "
                f"sweep in {self.setting.runtime.precision}"
            )
        return self._write(GROUPS[self.group](study), folder)

    def keep(self, vectors: Vectors) -> None:
        """Put what was measured elsewhere into the store of this machine."""
        artifacts.get_or_make(
            self.KIND, self.spec(), lambda folder, _: self._write(vectors, folder), self.load
        )

    def _write(self, vectors: Vectors, folder: Path) -> dict[str, Any]:
        save_file({k: v.float().cpu().contiguous() for k, v in vectors.items()}, folder / TENSORS)
        return {}

    def load(self, folder: Path) -> Vectors:
        return load_file(folder / TENSORS)


def _kinds(base: type[Experiment]) -> list[type[Experiment]]:
    """All experiments below `base`, those of several generations too; one without a KIND is none."""
    found = [kind for each in base.__subclasses__() for kind in (each, *_kinds(each))]
    return [kind for kind in found if "KIND" in vars(kind)]


def of(study: Study, group: str) -> Measurement:
    """The measurement of a group with a study's profile and seed; not yet made."""
    return Measurement(study.setting, study.profile, group)


def measured_seeds(study: Study, group: str) -> list[int]:
    """The seeds whose measurements of a group, with a study's profile, are in the store."""
    wanted = of(study, group)
    kept = (content["spec"] for content in artifacts.manifests().values())
    found = (spec["setting"]["seed"] for spec in kept if "group" in spec)
    return sorted(
        seed
        for seed in set(found)
        if artifacts.exists(
            wanted.KIND, replace(wanted, setting=replace(wanted.setting, seed=seed)).spec()
        )
    )


def vectors(
    study: Study, groups: Iterable[str] = tuple(GROUPS)
) -> dict[int, dict[str, np.ndarray]]:
    """All that is known, by seed: the study's own seed (measured now if need be), and every other
    seed that a sweep has measured."""
    found: dict[int, dict[str, np.ndarray]] = {}
    for group in groups:
        own = study.setting.seed
        for seed in sorted({own, *measured_seeds(study, group)}):
            setting = replace(study.setting, seed=seed)
            measured = load_or_train(Measurement(setting, study.profile, group))
            found.setdefault(seed, {}).update({k: v.numpy() for k, v in measured.items()})
    return found


# -- the parts of a group ------------------------------------------------------------------------


def _bce(name: str, by_variant: dict[str, Tensor]) -> Vectors:
    found = {f"bce/{name}/{variant}": scores[0] for variant, scores in by_variant.items()}
    return found | {f"bce/{name}/total": _total(by_variant)}


def _total(by_variant: dict[str, Tensor]) -> Tensor:
    return torch.stack([scores[0] for scores in by_variant.values()]).sum(0)


def _any_to_any(model, images: Tensor) -> Tensor:
    """BCE of each image, a mean over the twelve routes between its variants."""
    shown = dict(zip(VARIANTS, images, strict=True))
    latents = {variant: encode(model, image)[0] for variant, image in shown.items()}
    routes = []
    for source, target in permutations(VARIANTS, 2):
        z = model.maps(latents[source], evaluation.word_between(source, target))
        routes.append(evaluation.image_scores(model.decode, z, shown[target])[0])
    return torch.stack(routes).mean(0)


def _reverse(study: Study, pair: str) -> Vectors:
    """Composed and reverse, against the image of the trained order and of the reverse's own; and
    the composed image from its own latent."""
    images, model = study.variants(pair), study.lavae(pair)
    mu, _ = encode(model, images[0])
    own, _ = encode(model, images[3])
    codes = {
        "composed": (model.maps(mu, "L1 L2"), images[3]),
        "composed, own latent": (own, images[3]),
        "reverse": (model.maps(mu, REVERSE), images[3]),
        "reverse, own order": (model.maps(mu, REVERSE), study.swapped(pair)),
    }
    return {
        f"{name}/{pair}": evaluation.image_scores(model.decode, z, target)[0]
        for name, (z, target) in codes.items()
    }


def _recursion(model, originals: Tensor) -> Vectors:
    """stable: 1 where the recursion strays less than the model errs, see evaluation.stable."""
    stable = []
    for part in originals.split(evaluation.CHUNK):
        shown, _ = evaluation.recursion(model, part, "L1", STEPS)
        stable.append(evaluation.stable(shown))
    return {"stable": torch.cat(stable)}


def _identity(study: Study, images: Tensor) -> Vectors:
    """identity: 1 where the augmented output, turned back by its own flip, is nearest to the test
    image that it was made from, among all originals; copies: the same of the output as it is. Both
    are means over the three augmented variants."""
    mu, _ = encode(study.lavae(FLIPS), images[0])
    model, cvae = study.lavae(FLIPS), study.cvae(FLIPS, "conditional")
    words = ("L1", "L2", "L1 L2")
    outputs = {"LAVAE": [evaluation.decoded(model, mu, word) for word in words]}
    parts = [evaluation.cvae_outputs(cvae, part)[1:] for part in images[0].split(evaluation.CHUNK)]
    outputs["CVAE"] = list(torch.cat(parts, dim=1).sigmoid().squeeze(2))
    undo = ((-1,), (-2,), (-2, -1))  # flips are their own inverses
    known = images[0].flatten(1).float().div(255)
    found = {}
    for name, shown in outputs.items():
        back = [image.flip(axes) for image, axes in zip(shown, undo, strict=True)]
        for what, compared in (("identity", back), ("copies", shown)):
            shares = [_nearest_is_itself(image, known).float() for image in compared]
            found[f"{what}/{name}"] = torch.stack(shares).mean(0)
    return found


def _nearest_is_itself(shown: Tensor, known: Tensor) -> Tensor:
    squares, found = known.square().sum(1), []
    for start, part in zip(range(0, len(shown), 1000), shown.flatten(1).split(1000), strict=True):
        nearest = (squares - 2 * part @ known.t()).argmin(1)
        found.append(nearest == torch.arange(start, start + len(part)).to(nearest))
    return torch.cat(found)


def _box(study: Study, model, images: Tensor) -> Vectors:
    """1 where 15 neighbours take a sample of the originals' box, or a test original, for one."""
    low, high = projections.bounding_box(study.latents(FLIPS), COVERAGE)
    source = seeding.generator("cpu", study.setting.seed, "bounding box")
    samples = projections.sample_box(low, high, N_SAMPLES, source)
    originals, _ = encode(model, images[0, : images.shape[1] // 2])
    taken = separability.taken_for_originals(model, images, samples, originals)
    return {"box/samples": torch.from_numpy(taken[0]), "box/originals": torch.from_numpy(taken[1])}


def _geometry(study: Study, pair: str) -> Vectors:
    """Of a seed: separability of the variants; asymmetry of the regions.

    asymmetry: by how much the opposite sides of the quadrilateral of the regions' centres differ in
    length, a mean of the two pairs of sides, relative. An orthogonal map of the space, which is
    what a symmetry is, keeps lengths: then it is 0.
    """
    model, images = study.lavae(pair), study.variants(pair)
    points, variants = projections.variant_latents(model, images, separability.N_LATENTS)
    accuracies = separability.accuracies(points, variants, study.setting.seed)
    o, f, s, c = points.reshape(len(VARIANTS), -1, points.shape[1]).mean(1)
    opposite = ((o - f, s - c), (o - s, f - c))
    lengths = np.array([[np.linalg.norm(side) for side in sides] for sides in opposite])
    asymmetry = (np.ptp(lengths, axis=1) / lengths.mean(axis=1)).mean()
    return {
        f"probe/{pair}": torch.tensor([accuracies["linear probe"]]),
        f"neighbours/{pair}": torch.tensor([accuracies["15 neighbours"]]),
        f"asymmetry/{pair}": torch.tensor([float(asymmetry)]),
    }
