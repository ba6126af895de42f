"""How a number measured with several seeds is judged: intervals, a sign test, curves over length."""

from collections.abc import Mapping

import numpy as np

SETTLED, DEPENDS, UNKNOWN = "settled", "depends on training length", "not known"
NEAR = 0.02  # of a threshold: a part is then descriptive
MANY_SEEDS = 10  # with which it is not
FULL_EPOCHS = 100  # of the paper


def standard_error(values: np.ndarray) -> float:
    """Of the mean of values (N,); 0 for a single one."""
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0


def interval(values: np.ndarray, standard_errors: np.ndarray) -> tuple[float, float, float]:
    """Mean over seeds and its 95% interval, half of which is sqrt((t s / sqrt(n))^2 + (1.96 e)^2).

    values, standard_errors: (n,), of each seed, the latter over test images; s is the standard
    deviation of the former, e the mean of the latter. One seed: of its test images alone, NaN where
    that seed has a single number.
    """
    n, image_error = len(values), standard_errors.mean()
    if n == 1 and image_error == 0:
        return float(values[0]), np.nan, np.nan
    from scipy.stats import t  # takes a second to import

    spread = t.ppf(0.975, n - 1) * values.std(ddof=1) / np.sqrt(n) if n > 1 else 0.0
    half = float(np.hypot(spread, 1.96 * image_error))
    value = float(values.mean())
    return value, value - half, value + half


def sign_test(values: np.ndarray, threshold: float, side: str) -> float:
    """Probability that as many seeds lie on the claimed side ("below" or "above") of the threshold,
    if both sides were equally likely; seeds on the threshold count for neither."""
    differences = (values - threshold) * (1 if side == "above" else -1)
    claimed, other = int((differences > 0).sum()), int((differences < 0).sum())
    if claimed + other == 0:
        return 1.0
    from scipy.stats import binomtest

    return float(binomtest(claimed, claimed + other, alternative="greater").pvalue)


def is_descriptive(value: float, threshold: float, n_seeds: int) -> bool:
    """Whether a value is too near to its threshold for so few seeds (PROTOCOL.md)."""
    return n_seeds < MANY_SEEDS and abs(value - threshold) <= NEAR * (abs(threshold) or 1.0)


def settled(curve: Mapping[float, float], threshold: float) -> str:
    """Whether a statistic at training lengths (epochs: value) settles on a side of its threshold.

    SETTLED: it is on one side at the last three lengths, and the line through them in log2(epochs)
    is still there at 100 epochs. Else DEPENDS; UNKNOWN with less than three lengths.
    """
    if len(curve) < 3:
        return UNKNOWN
    last = sorted(curve)[-3:]
    values = np.array([curve[epochs] for epochs in last])
    slope, offset = np.polyfit(np.log2(last), values, 1)
    carried = offset + slope * np.log2(max(FULL_EPOCHS, last[-1]))
    sides = {bool(value > threshold) for value in (*values, carried)}
    return SETTLED if len(sides) == 1 else DEPENDS
