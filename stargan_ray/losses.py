"""The loss functions of the translators, one pure function an equation.

Equations are those of StarGAN v2 (Choi et al., CVPR 2020), section 3.2, and of the paper this package
implements, section III. Images are (b, 3, H, W) in [-1, 1]; every function returns a scalar in fp32 or wider.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def _wide(value: Tensor) -> Tensor:
    """At least fp32: sums of squares lose their small terms in bf16."""
    return value.float() if value.dtype in (torch.bfloat16, torch.float16) else value


def adversarial(logits: Tensor, real: bool) -> Tensor:
    """Binary cross-entropy of discriminator logits (b,) against one label, eq. 1 in its logistic form."""
    # softplus(-x) = -log sigmoid(x): the same number as BCE with logits, in one kernel
    return F.softplus(_wide(-logits if real else logits)).mean()


def classification(logits: Tensor, label: Tensor) -> Tensor:
    """Cross-entropy of logits (b, K) against labels (b,), StarGAN v1's eq. 2 and 3."""
    return F.cross_entropy(_wide(logits), label)


def r1_penalty(logits: Tensor, images: Tensor) -> Tensor:
    """½ · mean over the batch of ‖∇ₓ D(x)‖² on real images (Mescheder et al., 2018).

    Args:
        logits: (b,), computed from ``images``, which must require a gradient.
        images: (b, 3, H, W).
    """
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return 0.5 * _wide(gradient).square().flatten(1).sum(1).mean()


def l1(first: Tensor, second: Tensor) -> Tensor:
    """Mean absolute difference: style reconstruction (eq. 2), diversity (eq. 3) and cycle (eq. 4)."""
    return (_wide(first) - _wide(second)).abs().mean()


def identity_distance(source: Tensor, generated: Tensor) -> Tensor:
    """L_id: squared L2 distance of unit embeddings (b, d), averaged over the batch; in [0, 4].

    The paper sums over the batch (section III.C); the mean keeps λ_id independent of the batch size.
    """
    return (_wide(source) - _wide(generated)).square().sum(1).mean()
