"""How many threads compute, and how they wait for each other: imported before torch loads OpenMP."""

import ctypes
import os
import re
import time

from lavae_core.errors import InvalidInputError

# The thread count changes the order of sums and so the last bits of a result. Two, the size of the
# smallest laptop that the project promises to run on, is used everywhere, so results agree.
THREADS = 2

# With any of these OpenMP may give fewer threads than asked for, and a convolution in bf16 then waits
# for ever for one that does not come.
LIMITS = {
    "OMP_THREAD_LIMIT": ("omp_get_thread_limit", range(THREADS)),
    "OMP_DYNAMIC": ("omp_get_dynamic", range(1, 2)),
    "OMP_MAX_ACTIVE_LEVELS": ("omp_get_max_active_levels", range(1)),
}
# With any of these the libraries use other instructions than the processor has, or another precision:
# other bits. The key of a result knows the processor, not the switches.
SWITCHES = re.compile(
    r"ATEN_CPU_CAPABILITY|(ONEDNN|DNNL)_(MAX_CPU_ISA|CPU_ISA_HINTS|DEFAULT_FPMATH_MODE)"
    r"|MKL_(CBWR|ENABLE_INSTRUCTIONS|DEBUG_CPU_TYPE)|OPENBLAS_CORETYPE"
    r"|NPY_(DISABLE|ENABLE)_CPU_FEATURES|(NVIDIA|TORCH_ALLOW)_TF32\w*OVERRIDE|GLIBC_TUNABLES"
)


def choose_waiting() -> None:
    """Let threads that wait sleep where others want the cores; else they spin, OpenMP's default.

    Same bits either way. Without effect once torch is loaded, or where the user has chosen. Nothing is
    set on an idle machine: a spin count would be inherited, and beats a child's OMP_WAIT_POLICY.
    """
    free = (os.cpu_count() or 1) - THREADS  # cores that we leave to others
    chosen = {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys()
    if not chosen and _other_threads() >= free + 1:
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"


def _other_threads() -> float:
    # How many run now, over 25 ms: the load average counts for minutes what has already ended.
    running = []
    try:
        while len(running) < 5:
            time.sleep(0.005)
            with open("/proc/loadavg", encoding="ascii") as file:
                running.append(int(file.read().split()[3].partition("/")[0]))
    except OSError:  # a system without /proc
        return os.getloadavg()[0]
    return sum(running) / len(running) - 1  # without this one


def require_undisturbed(openmp: list[str]) -> None:
    """Raise InvalidInputError where the environment limits the threads or switches instructions.

    openmp: paths of the OpenMP libraries that this process has loaded.
    """
    for variable in filter(SWITCHES.fullmatch, os.environ):
        if os.environ[variable]:
            _refuse(variable, "gives other bits than the processor's own instructions")
    for path in openmp:
        library = ctypes.CDLL(path)
        for variable, (function, bad) in LIMITS.items():
            if getattr(library, function)() in bad:
                _refuse(variable, f"leaves fewer than the {THREADS} threads of every result")


def _refuse(variable: str, why: str) -> None:
    value = os.environ.get(variable, "unknown")
    raise InvalidInputError(f"{variable}={value} {why}; unset {variable} and start Python again")


choose_waiting()
