"""Measure this project against the baseline, in one run and interleaved.

    python benchmarks/run.py

Baseline and project are measured in turns, so that other load on the machine affects both. The
baseline runs in its own process, without this project's set-up (memory allocator, deterministic
algorithms). Writes medians of ROUNDS rounds to results.csv, where the rows of other machines stay.
"""

import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import baseline
import pandas as pd
import tables
import torch
from joblib import cpu_count

from lavae_companion import data
from lavae_companion.experiments import N_FITTED
from lavae_companion.paper import FLIPS
from lavae_companion.profiles import resolve
from lavae_companion.results import scores
from lavae_core import augmentations, runtime, training
from lavae_core.latent_maps import LatentMaps, Moments, fit_exact
from lavae_core.models import LAVAE, NATIVE, Decoder, encode_variants
from lavae_core.objectives import HeadObjective, Objective, VAEObjective
from lavae_core.training import Schedule

HERE = Path(__file__).parent
ROUNDS = 5
STEPS = 30  # of the baseline in a round, after WARM steps that are not counted
WARM = 3
ENGINE_STEPS = 300  # of this project, including its set-up and first steps
N_TRAIN, N_TEST = 60_000, 10_000
EPOCH_1 = 4 * N_TRAIN // 64  # steps of 64 images, every variant once
EPOCH_2 = EPOCH_3 = N_TRAIN // 64  # steps of 64 originals with their variants
PAPER_EPOCHS = {"stage 1": 100, "stage 2": 60}
# Of the paper's networks, layer by layer. Multiply-adds of an image, forward: encoder 6.8e6,
# decoder 6.7e6; backward twice that, without the gradient of the input (0.2e6). Times 64, times two.
STEP_FLOP = 5.2e9


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def per_step(steps: Iterator[float]) -> float:
    """Seconds per step of STEPS steps, after WARM steps that fill caches and start the loader."""
    list(islice(steps, WARM))
    return seconds(lambda: list(islice(steps, STEPS))) / STEPS


@cache
def images(split: str) -> torch.Tensor:
    return data.load(split).images


def baseline_step(stage: str, split: str) -> float:
    """In the baseline's process: seconds of one of its steps."""
    return per_step(getattr(baseline, stage)(images(split)))


def baseline_word() -> float:
    """In the baseline's process: seconds of a word of maps on N_TEST latents."""
    latents = torch.randn(N_TEST, 16)
    return seconds(lambda: baseline.word(latents))


def per_engine_step(objective: Objective, schedule: Schedule) -> float:
    """Seconds per step of the project's training loop, including checkpoints and the log."""
    short = Schedule(
        epochs=ENGINE_STEPS * schedule.batch / (objective.size * objective.images_per_sample),
        batch=schedule.batch,
    )
    with tempfile.TemporaryDirectory() as folder:
        return seconds(
            lambda: training.train(
                objective, short, seed=0, runtime=RUNTIME,
                checkpoint=Path(folder) / "state", label="benchmark",
            )
        ) / training.total_steps(objective, short)  # fmt: skip


def in_turns(pairs: dict[str, tuple[Callable, Callable]]) -> dict[str, tuple[float, float]]:
    """Medians over the rounds of what each pair of measurements returns."""
    rounds: dict[str, list[tuple[float, float]]] = {name: [] for name in pairs}
    for number in range(1, ROUNDS + 1):
        for name, (before, after) in pairs.items():
            rounds[name].append((before(), after()))
        print(f"round {number} of {ROUNDS}", flush=True)
    return {name: tuple(map(median, zip(*both, strict=True))) for name, both in rounds.items()}


def fit_maps(model: LAVAE, variants: torch.Tensor) -> torch.Tensor:
    """Stage 2 as FittedMaps does it: encode the originals and single variants, then fit."""
    mu, logvar = encode_variants(model, variants)
    return fit_exact(Moments(mu, logvar.double().exp()), FLIPS.orders)


def measure(theirs: ProcessPoolExecutor) -> pd.DataFrame:
    """A row for each kind of work: seconds of the baseline and of this project, and the ratio."""
    train_set = augmentations.variants(images("train"), FLIPS, split="train", seed=0)
    test_set = augmentations.variants(images("test"), FLIPS, split="test", seed=0)
    model = LAVAE()
    latents = torch.randn(N_TEST, 16)
    head = resolve("quick").head
    stage1 = VAEObjective(LAVAE(), train_set)
    stage3 = HeadObjective(Decoder(), torch.randn(4, N_TRAIN, 16), train_set)

    def step(stage: str, split: str = "train") -> float:
        return theirs.submit(baseline_step, stage, split).result()

    def stage2() -> float:
        fitted = train_set[:3, :N_FITTED]
        return seconds(lambda: fit_maps(model, fitted))

    def evaluate() -> float:
        return seconds(lambda: scores.through_maps(model, FLIPS, test_set))

    def epoch_of_heads() -> float:
        return per_engine_step(stage3, head) * (4 * N_TRAIN // head.batch)

    frozen, image = LAVAE.shipped(FLIPS), torch.rand(1, 1, 28, 28)

    def layer_by_layer() -> torch.Tensor:
        mu, _ = frozen.encode(image)
        return torch.sigmoid(frozen.decoders[NATIVE].layer_by_layer(frozen.maps(mu, "L1 L2")))

    def often(work: Callable[[], object]) -> float:
        return median(seconds(work) for _ in range(20))

    maps = LatentMaps(3)
    work = {
        "stage 1, a step of 64 images": (
            lambda: step("stage1"),
            lambda: per_engine_step(stage1, Schedule(epochs=1)),
        ),
        "stage 2, whole": (
            lambda: step("stage2") * EPOCH_2 * PAPER_EPOCHS["stage 2"],
            stage2,
        ),
        "stage 3, an epoch": (
            lambda: step("stage3") * EPOCH_3,
            epoch_of_heads,
        ),
        "evaluation, 10,000 test images in 4 variants": (
            lambda: step("evaluation", "test") * (N_TEST / 64),
            evaluate,
        ),
        "augment, one image, against layer by layer": (
            lambda: often(layer_by_layer),
            lambda: often(lambda: frozen.augment(image, "L1 L2")),
        ),
        "a word of three maps on 10,000 latents": (
            lambda: theirs.submit(baseline_word).result(),
            lambda: seconds(lambda: maps(latents, "L1 L2 L3")),
        ),
    }
    rows = [
        {"work": name, "baseline_s": before, "ours_s": after, "ratio": before / after}
        for name, (before, after) in in_turns(work).items()
    ]
    return pd.DataFrame(rows)


def floor() -> dict[str, float]:
    """Seconds of a stage-1 step if all of it ran at the rate of a large matrix product."""
    kind = torch.bfloat16 if RUNTIME.precision == "bf16" else torch.float32
    a, b = (torch.randn(2048, 2048).to(kind) for _ in range(2))
    rate = 2 * 2048**3 / min(seconds(lambda: a @ b) for _ in range(10))
    return {"gflop_per_s": rate / 1e9, "seconds": STEP_FLOP / rate}


def import_seconds() -> float:
    """Seconds that lavae_companion.study takes to import, without torch's own."""
    code = "import time, torch; t = time.perf_counter(); import lavae_companion.study; " \
           "print(time.perf_counter() - t)"  # fmt: skip
    times = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
        for _ in range(3)
    ]
    return median(times)


def machine(started: runtime.Runtime) -> str:
    """Processor, vector instructions and precision in words; nothing that names the machine."""
    flags = torch.cpu.get_capabilities()
    names = [name for name in ("avx2", "avx512_bf16", "amx_bf16") if flags.get(name)]
    return (
        f"{platform.machine()}{processor_family()}, {cpu_count()} cores, {', '.join(names) or 'no'} vector "
        f"instructions, PyTorch {torch.__version__}, {started.precision}"
    )


def processor_family() -> str:
    """The processor's maker and family, where Linux on x86 names them; "" elsewhere.

    Generations with the same instructions differ in speed by a factor of two.
    """
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    fields = dict(map(str.strip, line.partition(":")[::2]) for line in lines)
    if not {"vendor_id", "cpu family"} <= fields.keys():
        return ""
    return f" ({fields['vendor_id']} family {fields['cpu family']})"


def keep(table: pd.DataFrame, path: Path) -> None:
    """Write `path`: this machine's rows first, then those of other machines."""
    known = pd.read_csv(path) if path.is_file() else table.iloc[:0]
    others = known[~known["machine"].isin(table["machine"])]
    pd.concat([table, others]).to_csv(path, index=False, float_format="%.6g")


if __name__ == "__main__":
    RUNTIME = runtime.start()
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as theirs:
        table = measure(theirs)
    least = floor()
    extra = [
        {"work": "floor of a stage-1 step, s", "ours_s": least["seconds"]},
        {"work": "import without torch, s", "ours_s": import_seconds()},
        {
            "work": "peak memory, GB",
            "ours_s": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
        },
    ]
    table = pd.concat([table, pd.DataFrame(extra)], ignore_index=True)
    table["machine"], table["gflop_per_s"] = machine(RUNTIME), round(least["gflop_per_s"])
    keep(table, HERE / "results.csv")
    tables.write()
    print(table.drop(columns="machine").to_string(index=False))
