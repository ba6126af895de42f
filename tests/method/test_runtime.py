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


def test_an_unknown_precision_is_refused():
    with pytest.raises(InvalidInputError, match="'fp16'"):
        runtime.start("cpu", "fp16")


@pytest.mark.parametrize("device", ["gpu", "", "cuda:x", "mps", "cuda:99", 0, None])
def test_devices_that_are_refused(device):
    with pytest.raises(InvalidInputError, match=repr(device)):
        runtime.start(device)


def test_a_stream_is_named_by_its_words():
    assert runtime.stream(0, "noise", 3) == 6664519024363711163  # in every process and release
    streams = {runtime.stream(*words) for words in [(0, "a"), (1, "a"), (0, "b"), (0, "a", 0)]}
    assert len(streams) == 4 and all(0 <= stream < 2**63 for stream in streams)
    draws = [torch.rand(4, generator=runtime.generator("cpu", 5, "x")) for _ in range(2)]
    assert torch.equal(*draws)
    assert not torch.equal(draws[0], torch.rand(4, generator=runtime.generator("cpu", 6, "x")))


@pytest.mark.parametrize(
    ("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)]
)
def test_products_are_in_the_precision_of_the_runtime(precision, dtype):
    with runtime.Runtime("cpu", precision).autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype


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
import lavae_core
from lavae_companion import study
from lavae_core import runtime
runtime.start("cpu")
assert torch.are_deterministic_algorithms_enabled()
assert not torch.is_deterministic_algorithms_warn_only_enabled()
assert "torch._dynamo" not in sys.modules
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
