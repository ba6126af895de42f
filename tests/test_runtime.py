"""How numbers are computed: what the processor reports decides the precision, which is in every key."""

import subprocess
import sys

import numpy  # noqa: F401  (brings a BLAS of its own)
import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from lavae_core import runtime
from lavae_core.errors import InvalidInputError


@pytest.mark.parametrize(
    ("reported", "precision"),
    [({}, "fp32"), ({"avx2": True, "avx512_bf16": False}, "fp32"), ({"avx512_bf16": True}, "bf16"),
     ({"amx_bf16": True}, "bf16")],
)  # fmt: skip
def test_bf16_is_chosen_where_the_processor_multiplies_it(reported, precision, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: reported)
    assert runtime.start("cpu").precision == precision
    assert runtime.start("cpu", "fp32").precision == "fp32"


def test_an_unknown_precision_is_named_with_the_known_ones():
    with pytest.raises(InvalidInputError, match="unknown precision 'fp16'; allowed: fp32, bf16"):
        runtime.start("cpu", "fp16")


def test_every_library_computes_with_as_many_threads():
    torch.set_num_threads(1)
    threadpool_limits(1)
    runtime.start("cpu")
    assert torch.get_num_threads() == runtime.THREADS
    blas = {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}
    assert blas == {runtime.THREADS}


def test_algorithms_are_deterministic_and_the_compiler_is_not_loaded():
    code = """
import sys, torch
from lavae_core import evaluation, runtime, study
runtime.start("cpu")
assert torch.are_deterministic_algorithms_enabled()
assert not torch.is_deterministic_algorithms_warn_only_enabled()
assert "torch._dynamo" not in sys.modules
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
