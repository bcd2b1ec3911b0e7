"""The loss functions of the translators, one pure function an equation.

Equations without another name are those of StarGAN v2 (Choi et al., CVPR 2020), section 3.2, and of the paper this
package implements, section III. Images are (b, 3, H, W) in [-1, 1]; every function returns a scalar in fp32 or wider.
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


def wasserstein(logits: Tensor, real: bool) -> Tensor:
    """A critic's half of the Wasserstein distance, StarGAN v1's eq. 8: −mean for what is to look real, else +mean.

    Args:
        logits: (b, ...), of whole images or of patches.
        real: whether the critic (or, of a fake, the generator) wants them high.
    """
    mean = _wide(logits).mean()
    return -mean if real else mean


def gradient_penalty(logits: Tensor, mixed: Tensor) -> Tensor:
    """Mean over the batch of (‖∇_x̂ D(x̂)‖₂ − 1)², eq. 8 of StarGAN v1 (Gulrajani et al., 2017).

    Args:
        logits: (b, ...), computed from ``mixed``; D(x̂) is their sum over an image's patches, as the authors have it.
        mixed: x̂ (b, 3, H, W), on the lines between real images and fakes; must require a gradient.
    """
    (gradient,) = torch.autograd.grad(logits.sum(), mixed, create_graph=True)
    return (torch.linalg.vector_norm(_wide(gradient).flatten(1), dim=1) - 1).square().mean()


def l2(first: Tensor, second: Tensor) -> Tensor:
    """Mean squared difference: LAUN's reconstruction."""
    return (_wide(first) - _wide(second)).square().mean()


def contextual(generated: Tensor, target: Tensor, bandwidth: float, side: int) -> Tensor:
    """−log CX of feature maps, averaged over the batch (Mechrez et al., ECCV 2018, eq. 2 to 5); >= 0.

    Every position of the target looks for its like anywhere in the generated image, so where things are does not
    matter. d_ij = 1 − cos(x_i − μ, y_j − μ) with μ the mean of the target's positions; d̃_ij = d_ij / (min_k d_ik +
    1e-5); w_ij = exp((1 − d̃_ij) / h); CX = mean_j max_i w_ij / Σ_k w_ik.

    Args:
        generated: x (b, C, h, w).
        target: y (b, C, h, w), of the same size.
        bandwidth: h; 0.5 as published.
        side: maps that are larger are averaged down to side × side positions: cost and memory grow with its fourth
            power.
    """
    if max(target.shape[2:]) > side:
        generated, target = (F.adaptive_avg_pool2d(maps, side) for maps in (generated, target))
    x, y = (_wide(maps).flatten(2) for maps in (generated, target))
    mean = y.mean(2, keepdim=True)
    x, y = (F.normalize(maps - mean, dim=1) for maps in (x, y))
    with torch.autocast(x.device.type, enabled=False):  # the differences of near matches are lost in bf16
        distance = 1 - x.transpose(1, 2) @ y  # (b, i, j)
    relative = distance / (distance.amin(2, keepdim=True) + 1e-5)
    # softmax normalises exp((1 − d̃) / h) without overflow
    similarity = ((1 - relative) / bandwidth).softmax(2)
    return -similarity.amax(1).mean(1).log().mean()


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
