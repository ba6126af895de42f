"""On what numbers were measured: which seeds, on which kind of processor, with which code."""

import subprocess
from collections.abc import Iterable
from typing import Any

import torch

from lavae_core.experiments import Setting
from lavae_core.paths import CHECKOUT


def provenance(profile: str, setting: Setting, seeds: Iterable[int]) -> dict[str, Any]:
    """Profile, seeds, device, precision, the processor's instructions, PyTorch and git's commit
    (None where the checkout is not one of git's), as JSON; nothing names the machine."""
    capabilities = torch.cpu.get_capabilities()
    return {
        "profile": profile,
        "seeds": sorted(seeds),
        "device": setting.runtime.device,
        "precision": setting.runtime.precision,
        "instructions": sorted(name for name, there in capabilities.items() if there is True),
        "torch": torch.__version__,
        "commit": _commit(),
    }


def _commit() -> str | None:
    command = ["git", "-C", str(CHECKOUT), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
