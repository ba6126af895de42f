"""How threads wait, and the variables that stop a training or give other bits under the same key."""

import ctypes
import os
import subprocess
import sys
import time

import pytest
from threadpoolctl import threadpool_info

from lavae_core import runtime, threads
from lavae_core.errors import InvalidInputError


@pytest.mark.parametrize(
    ("load", "cores", "chosen"),
    [
        (0.9, 2, {}),
        (1.0, 2, {"OMP_WAIT_POLICY": "PASSIVE"}),
        (14.9, 16, {}),  # two cores are free
        (15.0, 16, {"OMP_WAIT_POLICY": "PASSIVE"}),
        (0.0, 1, {"OMP_WAIT_POLICY": "PASSIVE"}),  # two threads on one core
        (0.0, None, {"OMP_WAIT_POLICY": "PASSIVE"}),
    ],
)
def test_threads_sleep_where_others_want_the_cores(load, cores, chosen, monkeypatch):
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.setenv(name, "")  # so that its state now is restored
        del os.environ[name]
    monkeypatch.setattr(threads, "_other_threads", lambda: load)
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    before = dict(os.environ)
    threads.choose_waiting()
    assert dict(os.environ) == before | chosen
    before = dict(os.environ) | {"GOMP_SPINCOUNT": "7"}
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    threads.choose_waiting()  # the user has chosen
    assert dict(os.environ) == before


def test_running_threads_are_seen_at_once():
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2)]
    try:
        wait_until(lambda: threads._other_threads() >= 1.5)
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def test_a_system_without_proc_has_its_load_average(monkeypatch):
    monkeypatch.setattr(threads, "open", refuse_to_open, raising=False)
    monkeypatch.setattr(os, "getloadavg", lambda: (1.25, 9, 9))
    assert threads._other_threads() == 1.25


def wait_until(holds, seconds=30):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end


def refuse_to_open(path, **_):
    raise FileNotFoundError(path)


WATCH = """
import sys
class Watch:
    def find_spec(self, name, *_):
        if name == "torch":
            sys.exit("lavae_core.threads" not in sys.modules)
sys.meta_path.insert(0, Watch())
"""


@pytest.mark.parametrize(
    "first",
    [
        "import lavae_core",
        "from lavae_companion import figures",  # the first import of every notebook
        "import lavae_companion.data",
        "import lavae_companion.runner.cli",
    ],
)
def test_the_choice_is_made_before_torch_is_loaded(first):
    done = subprocess.run([sys.executable, "-c", WATCH + first + "\nsys.exit(2)"])
    assert done.returncode == 0


@pytest.mark.parametrize(
    "variable",
    [
        "ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA",
        "ONEDNN_DEFAULT_FPMATH_MODE", "MKL_CBWR", "OPENBLAS_CORETYPE", "NPY_DISABLE_CPU_FEATURES",
        "NVIDIA_TF32_OVERRIDE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "GLIBC_TUNABLES",
    ],
)  # fmt: skip
def test_a_switch_to_other_instructions_is_refused(variable, monkeypatch):
    monkeypatch.setenv(variable, "a value")
    with pytest.raises(InvalidInputError, match=f"{variable}=a value") as caught:
        runtime.start("cpu")
    assert "\n" not in str(caught.value)
    monkeypatch.setenv(variable, "")
    runtime.start("cpu")


@pytest.mark.parametrize("variable", ["ONEDNN_VERBOSE", "OMP_NUM_THREADS", "MKL_NUM_THREADS"])
def test_what_changes_no_bit_is_not_refused(variable, monkeypatch):
    monkeypatch.setenv(variable, "1")
    runtime.start("cpu")


def openmp() -> ctypes.CDLL:
    return ctypes.CDLL(next(p["filepath"] for p in threadpool_info() if p["user_api"] == "openmp"))


@pytest.mark.parametrize(
    ("variable", "setting", "bad", "good"),
    [
        ("OMP_DYNAMIC", "omp_set_dynamic", 1, 0),
        ("OMP_MAX_ACTIVE_LEVELS", "omp_set_max_active_levels", 0, 8),
    ],
)
def test_what_takes_threads_away_is_refused(variable, setting, bad, good):
    set_it = getattr(openmp(), setting)
    set_it(bad)
    try:
        with pytest.raises(InvalidInputError, match=variable):
            runtime.start("cpu")
    finally:
        set_it(good)
    runtime.start("cpu")


@pytest.mark.parametrize("limit", [1, 2])
def test_a_limit_below_the_threads_of_every_result_is_refused(limit):
    """Training would wait for ever; the variable is read once, when torch loads OpenMP."""
    code = "from lavae_core import runtime; runtime.start('cpu')"
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"OMP_THREAD_LIMIT": str(limit)},
        capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode == 0) == (limit == 2), done.stderr
    assert ("OMP_THREAD_LIMIT=1" in done.stderr) == (limit == 1)
