"""Losses computed sample by sample, in another way than the package does it."""

import pytest
import torch
import torch.nn.functional as F

INDEX = torch.tensor([4, 0, 9])
SEED = 7
# Whether an objective is antithetic, and the signs of the noise of its samples.
DRAWS = pytest.mark.parametrize("antithetic, signs", [(False, [1]), (True, [1, -1])])


def one(image: torch.Tensor) -> torch.Tensor:
    """A uint8 image (28, 28) as a batch of one."""
    return image[None, None] / 255


def kl(mu: torch.Tensor, logvar: torch.Tensor) -> torch.Tensor:
    return 0.5 * (logvar.exp() + mu.square() - 1 - logvar).sum()


def cross_entropy(logits: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    # In fp32 the sigmoid of a logit above 16.6 is 1, and the logarithm of what is missing is lost.
    p, target = torch.sigmoid(logits.double()), one(image).double()
    return F.binary_cross_entropy(p, target, reduction="sum")


def sample(mu, logvar, noise):
    return mu + (logvar / 2).exp() * noise


def check(terms: dict, expected: dict) -> None:
    assert terms.keys() == expected.keys()
    for name in terms:
        torch.testing.assert_close(
            terms[name], torch.as_tensor(expected[name]), rtol=1e-4, atol=0, check_dtype=False
        )
