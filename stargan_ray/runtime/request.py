"""What is wanted of the images that a translator is given."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Request:
    """What is wanted of every image.

    Attributes:
        target: an expression of the model, or ``all``.
        reference: path or URI of an image whose style is taken; empty = a style drawn from the seed.
        intensity: 0 = the image's own expression, 1 = the full target.
        source_label: the expression that the images show; empty = what the data set says, else the one whose
            own style reconstructs the image best. It matters below intensity 1 only.
        seed: of the drawn styles.
        toward: a second expression, to interpolate towards; empty = none, or the target's where there is a
            ``toward_reference``.
        toward_reference: path or URI of an image whose style is interpolated towards; empty = a drawn style.
        share: of the second: 0 = the target alone, 1 = the second alone. It matters with a second only.
        chip: whether the face that dlib finds is cut out, upright, and translated in place of the whole photo, as
            ``jobs/ingest.py --limits.chip`` does (extra judge); references likewise.
    """

    target: str
    reference: str = ""
    intensity: float = 1.0
    source_label: str = ""
    seed: int = 0
    toward: str = ""
    toward_reference: str = ""
    share: float = 0.5
    chip: bool = False

    @property
    def interpolates(self) -> bool:
        """Whether there is a second target."""
        return bool(self.toward or self.toward_reference)
