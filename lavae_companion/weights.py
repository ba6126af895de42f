"""The weights that come with the checkout: `python -m lavae_companion.weights` makes them anew.

A file holds the networks of one model in half precision, and its latent maps in fp32: they are 2 KB,
and their powers amplify an error. `LAVAE.shipped(family)` loads it.
"""

import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor

from lavae_companion import outputs
from lavae_companion.paper import FLIPS
from lavae_companion.results import scores
from lavae_companion.study import Study
from lavae_core.augmentations import Family
from lavae_core.errors import LavaeError
from lavae_core.models import LAVAE, SHIPPED, SHIPPED_LIST

FAMILIES = (FLIPS, Family.parse("rotate_cw,flip_lr"))
PROFILE, SEED = "quick", 0


def write(study: Study, families: Sequence[Family], folder: Path) -> None:
    """Replace the weights in `folder` by the models of `families`, trained first where they are not.

    The list of the files is written last. "bce" in it is the mean over the test images for each
    variant, of the trained model and of the one with rounded weights.
    """
    folder.mkdir(parents=True, exist_ok=True)
    models = {str(family): _write_model(study, family, folder) for family in families}
    names = {entry["file"] for entry in models.values()}
    for old in folder.glob("*.safetensors"):
        if old.name not in names:
            old.unlink()
    content = {
        "made_by": "python -m lavae_companion.weights",
        "data": study.setting.dataset,
        "provenance": outputs.provenance(study.profile.name, study.setting, [study.setting.seed]),
        "models": models,
    }
    (folder / SHIPPED_LIST).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def halved(model: LAVAE) -> dict[str, Tensor]:
    """The weights of `model` on the CPU, in half precision but for the latent maps."""
    weights = {name: weight.cpu().contiguous() for name, weight in model.state_dict().items()}
    return {name: w if name.startswith("maps.") else w.half() for name, w in weights.items()}


def bce(study: Study, family: Family, model: LAVAE) -> dict[str, float]:
    """Mean BCE of each variant, reached by its word, over the test images of `study`."""
    by_variant = scores.through_maps(model, family, study.variants(family))
    return {variant: round(each[0].mean().item(), 4) for variant, each in by_variant.items()}


def _write_model(study: Study, family: Family, folder: Path) -> dict[str, Any]:
    """Write one file; its entry in the list."""
    print(f"{family}: a minute, and some more if it is not trained yet ...", flush=True)
    model = study.lavae(family)
    trained, content = bce(study, family, model), safetensors.torch.save(halved(model))
    model.load_state_dict(safetensors.torch.load(content))
    file = folder / f"{str(family).replace(',', '-')}.safetensors"
    file.write_bytes(content)
    return {
        "file": file.name,
        "sha256": hashlib.sha256(content).hexdigest(),
        "bce": {"trained": trained, "shipped": bce(study, family, model)},
    }


def main() -> int:
    """Make the weights of the checkout; return the exit status. Errors are one line."""
    try:
        write(Study(PROFILE, SEED), FAMILIES, SHIPPED)
    except (LavaeError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
