"""How numbers are computed: device, precision, threads, deterministic algorithms, random streams."""

import contextlib
import ctypes
import hashlib
import os
from dataclasses import dataclass

import torch
from threadpoolctl import threadpool_info, threadpool_limits

from lavae_core import threads
from lavae_core.errors import InvalidInputError
from lavae_core.threads import THREADS

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # glibc's malloc.h


@dataclass(frozen=True)
class Runtime:
    """Where and how to compute; part of the key of everything that is trained.

    device: "cpu", "cuda" or "cuda:N". precision: "fp32", or "bf16" for autocast.
    """

    device: str
    precision: str

    def autocast(self) -> contextlib.AbstractContextManager:
        """Context in which matrix products run in the runtime's precision, with THREADS threads."""
        torch.set_num_threads(THREADS)  # of this thread; another one may have called start
        kind = torch.device(self.device).type
        return torch.autocast(kind, dtype=torch.bfloat16, enabled=self.precision == "bf16")


def start(device: str = "cpu", precision: str | None = None) -> Runtime:
    """Switch on deterministic algorithms, fix the threads and choose the precision for `device`.

    Raises InvalidInputError for a device that is unknown or not there, an unknown precision, or
    environment variables that stop a training or give other bits (see threads).
    """
    require_device(device)
    if precision not in (None, "fp32", "bf16"):
        raise InvalidInputError(f"unknown precision {precision!r}; allowed: fp32, bf16")
    pools = threadpool_info()
    threads.require_undisturbed([p["filepath"] for p in pools if p["user_api"] == "openmp"])
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is deterministic only so
    # What use_deterministic_algorithms(True) does, without its import of torch's compiler (3 s).
    torch.set_deterministic_debug_mode("error")
    # Nothing here reads memory that was not written, so filling it first is only a cost.
    torch.utils.deterministic.fill_uninitialized_memory = False
    torch.set_num_threads(THREADS)
    threadpool_limits(THREADS)  # of scikit-learn's linear algebra
    _keep_freed_memory()
    return Runtime(device, precision or native_precision(device))


def _keep_freed_memory() -> None:
    """Tell glibc to reuse what a step frees. By default it gives large blocks back to the kernel and
    gets them anew page by page, thousands of page faults and a quarter of the time of a step."""
    with contextlib.suppress(OSError, AttributeError):  # another C library has no such setting
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_THRESHOLD, 32 * 2**20)  # the most that it accepts
        mallopt(M_TRIM_THRESHOLD, 2**30)


def native_precision(device: str) -> str:
    """Name of the precision that is fast on `device`: bf16 only where the hardware multiplies it."""
    if torch.device(device).type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    found = torch.cpu.get_capabilities()
    return "bf16" if found.get("avx512_bf16") or found.get("amx_bf16") else "fp32"


def require_device(device: str) -> None:
    """Raise InvalidInputError unless `device` is "cpu" or a CUDA device that is there."""
    try:
        kind = torch.device(device) if isinstance(device, str) else None  # 0 would be cuda:0
    except RuntimeError:
        kind = None
    if kind is None or kind.type not in ("cpu", "cuda"):
        raise InvalidInputError(f"unknown device {device!r}; allowed: cpu, cuda, cuda:N")
    if kind.type == "cuda" and (kind.index or 0) >= torch.cuda.device_count():
        found = torch.cuda.device_count()
        raise InvalidInputError(f"device {device!r} is not there ({found} CUDA devices); use cpu")


def stream(*words: object) -> int:
    """A 63-bit seed for the stream that `words` name, equal on every machine and in every process."""
    digest = hashlib.sha256("/".join(map(str, words)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(device: torch.device | str, *words: object) -> torch.Generator:
    """A torch.Generator on `device` at the start of the stream that `words` name."""
    return torch.Generator(device=device).manual_seed(stream(*words))
