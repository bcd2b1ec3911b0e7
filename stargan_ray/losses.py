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


def identity_contrast(generated: Tensor, source: Tensor, temperature: float) -> Tensor:
    """InfoNCE: each generated face must be told from all people of the batch as the one of its own source.

    −log softmax over j of ⟨generated_i, source_j⟩ / τ, at j = i, averaged over i. A distance alone would be won by a
    code that is the same for everyone; this one is log B then.

    Args:
        generated: unit codes (B, d).
        source: unit codes (B, d) of their sources, in the same order.
        temperature: τ > 0.
    """
    with torch.autocast(generated.device.type, enabled=False):  # in bf16 the cosines of two people may be one number
        logits = _wide(generated) @ _wide(source).mT / temperature
    return F.cross_entropy(logits, torch.arange(len(logits), device=logits.device))


def decorrelation(first: Tensor, second: Tensor) -> Tensor:
    """Mean squared correlation, over the batch, of each entry of (B, d) with each of (B, e); in [0, 1].

    0 says that neither code tells the other linearly. Correlations and not covariances (Cheung et al., 2014), because
    covariances fall when a code merely shrinks. Unrelated codes score about 1 / (B − 1) by chance.
    """
    with torch.autocast(first.device.type, enabled=False):
        correlation = _standardised(_wide(first)).mT @ _standardised(_wide(second)) / len(first)
    return correlation.square().mean()


def _standardised(values: Tensor) -> Tensor:
    """Columns of mean 0 and variance 1; a constant column is 0."""
    centred = values - values.mean(0)
    return centred * (centred.square().mean(0) + 1e-8).rsqrt()
