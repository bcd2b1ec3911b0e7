"""The head that an ArcFace embedder is trained by: one centre on the sphere for each person."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stargan_ray.errors import InputError


class ArcFaceHead(nn.Module):
    """Additive angular margin (Deng et al., 2019): unit embeddings (b, d) and who they show -> loss and accuracy.

    Softmax over s·cos θ to the centres, where the angle to the own person's centre counts as if it were m larger.
    Training needs it, a model does not: it knows nobody but the people of the training data.

    Args:
        people: number of centres, at least 2.
        embedding: d.
        margin_degrees: m.
        scale: s, the inverse temperature of the softmax.
    """

    def __init__(self, people: int, embedding: int, margin_degrees: float, scale: float) -> None:
        super().__init__()
        # takes seconds to import: only who trains an embedder pays
        from pytorch_metric_learning.losses import ArcFaceLoss
        from pytorch_metric_learning.utils.common_functions import TorchInitWrapper

        if people < 2:
            raise InputError(f"people = {people}: allowed are values >= 2")
        # Only directions count, so the length of a centre says how far one update turns it: with entries of 1, the
        # library's default, centres would hardly leave their places. 0.01 is the authors'.
        start = TorchInitWrapper(nn.init.normal_, std=0.01)
        self.loss = ArcFaceLoss(people, embedding, margin=margin_degrees, scale=scale, weight_init_func=start)

    def forward(self, vector: Tensor, person: Tensor) -> tuple[Tensor, Tensor]:
        """The mean loss over the batch, and the share whose nearest centre is their person's, without a gradient.

        Args:
            vector: (b, d), unit length.
            person: (b,) int64 below ``people``.
        """
        # In bf16 cosines are 0.004 apart near 1, and the scale makes that a quarter of a logit.
        with torch.autocast(vector.device.type, enabled=False):
            vector = vector.to(self.loss.W.dtype)
            loss: Tensor = self.loss(vector, person)
            with torch.no_grad():
                accuracy = (self.loss.get_logits(vector).argmax(1) == person).float().mean()
        return loss, accuracy
