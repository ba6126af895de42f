"""The weights that come with the checkout: `python -m lavae_companion.weights` replaces them.

They are the models that the notebooks of the paper's figures and tables loaded in the last run of
the default profile. A file holds a model in half precision, but for the latent maps: they are 2 KB, and their
powers amplify an error. Of a transfer head it holds the new decoder alone; the rest is that of its
LAVAE. `LAVAE.shipped(family)` loads one, `run_all.sh --shipped` all of them.
"""

import hashlib
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from lavae_companion import outputs, paths, store
from lavae_companion.command import exit_status
from lavae_companion.comparisons import CVAE
from lavae_companion.paper import FLIPS, ROTATE_FLIP
from lavae_companion.results import scores
from lavae_companion.study import Study
from lavae_core.augmentations import Family
from lavae_core.errors import StoreError
from lavae_core.models import FEATURES, LAVAE, NATIVE
from lavae_core.pretrained import SHIPPED, SHIPPED_LIST

FAMILIES = (FLIPS, ROTATE_FLIP)  # of the explorer
PROFILE, SEED = "quick", 0
N_SCORED = 1000  # test images
TOLERANCE = 0.05  # BCE


def loaded() -> set[str]:
    """Names of the models that the paper's figures and tables loaded in the last default run.

    Raises StoreError where there was none.
    """
    folder = paths.runs_dir(PROFILE, SEED) / "notebooks"
    files = [*folder.glob("*_figure_*.loaded"), *folder.glob("*_table_*.loaded")]
    names = {name for file in files for name in file.read_text(encoding="utf-8").split()}
    if not names:
        raise StoreError(
            f"there is no run in {folder} to take the list from; call ./run_all.sh first"
        )
    return names


def write(study: Study, names: Iterable[str], folder: Path) -> None:
    """Replace the weights in `folder` by those of the artifacts `names`; the list is written last.

    "bce" in it is the mean BCE of the trained model and of the rounded one. Raises StoreError where
    they differ by more than TOLERANCE.
    """
    folder.mkdir(parents=True, exist_ok=True)
    models: dict[str, Any] = {}
    families: dict[str, str] = {}
    for name in sorted(names, reverse=True):  # LAVAEs ("maps") before their heads
        models[name] = _write_model(study, name, families, folder)
        if name.startswith("maps-"):
            families[models[name]["config"]["about"]["family"]] = name
        print(f"{name}: {models[name]['bce']}", flush=True)
    for old in folder.glob("*.safetensors"):
        if old.stem not in models:
            old.unlink()
    content = {
        "made_by": "python -m lavae_companion.weights",
        "provenance": outputs.provenance(study.profile.name, study.setting, [study.setting.seed]),
        "families": families,
        "models": models,
    }
    (folder / SHIPPED_LIST).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def halved(model: LAVAE | CVAE) -> dict[str, Tensor]:
    """The weights of `model` on the CPU, in half precision but for the latent maps."""
    weights = {name: weight.cpu().contiguous() for name, weight in model.state_dict().items()}
    return {name: w if name.startswith("maps.") else w.half() for name, w in weights.items()}


def bce(study: Study, model: LAVAE | CVAE) -> float:
    """Mean BCE over all variants of the first N_SCORED test images, reached as the model was trained
    to reach them: through the maps and the newest head, by conditions, or (a plain VAE) encoded."""
    heads = list(model.decoders) if isinstance(model, LAVAE) else [NATIVE]
    trained = Family.parse(model.about["family"] or FLIPS)
    family = trained if heads[-1] == NATIVE else Family.parse(heads[-1])
    images = study.variants(family)[:, :N_SCORED]
    if isinstance(model, CVAE):
        n_conditions = model.encoder.to_mu.in_features - FEATURES
        known = family if len(family.words) == n_conditions else family.singles
        by_variant = scores.by_condition(model, family, images, known)
    elif not model.about["family"]:
        by_variant = scores.directly_encoded(model, family, images)
    else:
        by_variant = scores.through_maps(model, family, images, heads[-1])
    return round(torch.stack([each[0] for each in by_variant.values()]).mean().item(), 4)


def _write_model(study: Study, name: str, families: dict[str, str], folder: Path) -> dict[str, Any]:
    """Write one file; its entry in the list."""
    source = paths.artifacts_dir() / name
    config, manifest = (
        json.loads((source / file).read_text(encoding="utf-8"))
        for file in ("config.json", store.MANIFEST)
    )
    about = {"family": _family(manifest["spec"])} | config.get("about", {})
    model = (CVAE if "n_conditions" in config else LAVAE).from_pretrained(source)
    model.about = about
    trained, weights = bce(study, model), halved(model)
    model.load_state_dict(weights)
    shipped = bce(study, model)
    if abs(shipped - trained) > TOLERANCE:
        raise StoreError(f"{name} in half precision has a BCE of {shipped}, not {trained}")
    head = name.startswith("head-")
    own = {k: w for k, w in weights.items() if not head or config["heads"][-1] in k}
    content = safetensors.torch.save(own)
    file = folder / f"{name}.safetensors"
    file.write_bytes(content)
    return {
        "file": file.name,
        "sha256": hashlib.sha256(content).hexdigest(),
        "config": config | {"about": about},
        "shares": families[about["family"]] if head else None,
        "bce": {"trained": trained, "shipped": shipped},
    }


def _family(spec: dict[str, Any]) -> str:
    """The family that a model of this specification encodes; "" for a plain VAE."""
    if "pair" in spec:
        return spec["pair"] or ""
    return _family(spec["stage1"] if "stage1" in spec else spec["maps"])


def main() -> int:
    """Make the weights of the checkout; return the exit status. Errors are one line."""
    return exit_status(lambda: write(Study(PROFILE, SEED), loaded(), SHIPPED))


if __name__ == "__main__":
    sys.exit(main())
