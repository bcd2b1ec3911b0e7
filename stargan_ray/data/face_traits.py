"""Who a generated person is: a vector of continuous traits, drawn with plausible correlations.

Every trait is one float with a fixed range, so identities can be interpolated, perturbed and compared.
Lengths are in face units: the picture of a frontal face spans about -1..1 both ways.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

_STREAM_TRAITS = 101  # keeps the draws of traits, styles and pictures of one person apart


@dataclass(frozen=True)
class Traits:
    """One person's looks; 0..1 where no unit is given (see :data:`RANGES`), 0.5 is average."""

    # head
    face_width: float  # half width at the cheekbones, face units
    face_length: float  # where the chin ends, face units below the centre
    jaw: float  # 0 narrow and pointed .. 1 square
    cheeks: float  # 0 hollow .. 1 full
    # skin
    skin_tone: float  # 0 very light .. 1 very dark
    skin_warmth: float  # 0 cool pink .. 1 golden
    blush: float  # redness of cheeks and nose
    # eyes
    eye_spacing: float  # half the distance between the eye centres, face units
    eye_size: float
    eye_roundness: float  # 0 narrow .. 1 round
    eye_tilt: float  # -1 outer corner hangs .. 1 outer corner rises
    eye_height: float  # -1 lower on the face .. 1 higher
    iris: float  # 0 light blue, 0.3 green, 0.5 hazel, 0.75 brown .. 1 nearly black
    lid_fold: float  # 0 no crease .. 1 deep crease
    lashes: float  # darkness and thickness of the lash line
    # brows
    brow_thickness: float
    brow_height: float
    brow_arch: float
    brow_tilt: float  # -1 outer end hangs .. 1 outer end rises
    # nose
    nose_length: float
    nose_width: float
    nose_bridge: float  # how far the ridge stands out
    # mouth
    mouth_width: float
    mouth_height: float  # -1 near the chin .. 1 near the nose
    upper_lip: float  # fullness
    lower_lip: float  # fullness
    lip_colour: float  # 0 skin-like .. 1 saturated red
    # ears
    ear_size: float
    ear_stance: float  # 0 flat .. 1 sticking out
    # hair
    hair_length: float  # 0 ends above the ear .. 1 falls below the picture
    hair_volume: float
    hair_curl: float  # 0 straight .. 1 tight curls
    hair_dark: float  # 0 blond .. 1 black
    hair_red: float
    hair_grey: float
    hairline: float  # 0 low forehead .. 1 high forehead
    hair_peak: float  # 0 round hairline .. 1 receding temples
    baldness: float  # 0 full .. 1 no hair on top
    fringe: float  # how far the hair falls over the forehead
    parting: float  # -1 left of the picture .. 1 right
    # facial hair
    moustache: float
    beard: float
    stubble: float
    # marks
    glasses: float  # 0 none .. 1 heavy frame
    glasses_size: float
    glasses_round: float  # 0 rectangular .. 1 round
    glasses_dark: float  # 0 metal .. 1 black
    freckles: float
    age_lines: float
    eye_bags: float
    mole: float  # size of one mole, 0 none
    mole_x: float  # -1 .. 1 across the cheeks
    mole_y: float  # -1 beside the eye .. 1 beside the chin
    pattern: float  # phase of freckles and strands


_SIGNED = ("eye_tilt", "eye_height", "brow_tilt", "mouth_height", "parting", "mole_x", "mole_y")
RANGES: dict[str, tuple[float, float]] = {
    field.name: (-1.0, 1.0) if field.name in _SIGNED else (0.0, 1.0) for field in fields(Traits)
} | {"face_width": (0.58, 0.74), "face_length": (0.80, 0.96), "eye_spacing": (0.26, 0.34)}


def _sometimes(rng: np.random.Generator, chance: float, low: float = 0.3) -> float:
    """0 for most people, else a clearly visible amount in low..1."""
    shown, amount = rng.random(2)
    return float(low + (1.0 - low) * amount) if shown < chance else 0.0


def _hair(rng: np.random.Generator, man: float, age: float, tone: float) -> dict[str, float]:
    dark = float(np.clip(rng.normal(0.5 + 0.55 * tone, 0.28 * (1.05 - tone)), 0, 1))
    bald = _sometimes(rng, 0.30 * age + 0.06, 0.45) if man > 0.5 else 0.0
    long = rng.beta(1.0, 4.5) if man > 0.5 else rng.beta(1.8, 1.1)
    return {
        "hair_dark": dark,
        "hair_red": _sometimes(rng, 0.22 * (1.0 - tone), 0.4) if dark < 0.75 else 0.0,
        "hair_grey": float(np.clip((age - 0.6) * 2.2 + rng.normal(0, 0.2), 0, 1)) if age > 0.6 else 0.0,
        "hair_length": float(long) * (1.0 - 0.6 * bald),
        "hair_volume": float(rng.beta(2, 2)),
        "hair_curl": float(np.clip(rng.beta(1.2, 2.0) + 0.45 * max(0.0, tone - 0.6), 0, 1)),
        "hairline": float(rng.beta(2.5, 2.5)),
        "hair_peak": float(rng.beta(2, 3) if man > 0.5 else rng.beta(1, 5)),
        "baldness": bald,
        "fringe": 0.0 if bald > 0.3 else _sometimes(rng, 0.42, 0.3),
        "parting": float(rng.uniform(-1, 1)),
    }


def _facial_hair(rng: np.random.Generator, man: float) -> dict[str, float]:
    if man < 0.5:
        return {"moustache": 0.0, "beard": 0.0, "stubble": 0.0}
    beard = _sometimes(rng, 0.34, 0.35)
    moustache = min(1.0, beard * 1.05) if rng.random() < 0.85 * (beard > 0) else _sometimes(rng, 0.14, 0.5)
    return {"moustache": moustache, "beard": beard, "stubble": float(rng.beta(1.3, 2.2))}


def person(seed_of_identities: int, number: int) -> Traits:
    """The looks of one person, a function of the two numbers alone.

    Args:
        seed_of_identities: seed of the population (``FacesConfig.seed``), 0 or more.
        number: which person of this population, 0 or more.

    Returns:
        A trait vector. Sex-appearance, age and skin tone are drawn first and steer the other draws, so that
        beards, grey hair and hair colours come in plausible company.
    """
    rng = np.random.default_rng([seed_of_identities, _STREAM_TRAITS, number])
    man, age = rng.random(), float(rng.beta(1.4, 1.7))
    tone = float(rng.beta(0.95, 1.25))
    given = {name: float(rng.beta(2, 2)) * (high - low) + low for name, (low, high) in RANGES.items()}
    eyes = 0.35 + 1.3 * tone if rng.random() < 0.25 + tone else rng.uniform(0, 0.55)
    glasses = _sometimes(rng, 0.26, 0.25)
    soft = 0.12 if man < 0.5 else -0.08
    given |= {
        "skin_tone": tone,
        "iris": float(np.clip(eyes + rng.normal(0, 0.08), 0, 1)),
        "jaw": float(np.clip(given["jaw"] - 1.6 * soft, 0, 1)),
        "lashes": float(np.clip(given["lashes"] + 3 * soft, 0, 1)),
        "brow_thickness": float(np.clip(given["brow_thickness"] - 1.6 * soft, 0, 1)),
        "lip_colour": float(np.clip(0.9 * given["lip_colour"] + 2.0 * soft, 0, 1)),
        "upper_lip": float(np.clip(given["upper_lip"] + soft + 0.25 * (tone - 0.4), 0, 1)),
        "lower_lip": float(np.clip(given["lower_lip"] + soft + 0.20 * (tone - 0.4), 0, 1)),
        "nose_width": float(np.clip(given["nose_width"] + 0.35 * (tone - 0.4), 0, 1)),
        "glasses": glasses,
        "glasses_round": float(rng.random()),
        "glasses_dark": float(rng.random()),
        "freckles": _sometimes(rng, 0.24 * (1.0 - tone), 0.4),
        "age_lines": age**1.5,
        "eye_bags": float(np.clip(0.6 * age + rng.normal(0, 0.2), 0, 1)),
        "mole": _sometimes(rng, 0.14, 0.3),
        "mole_x": float(rng.uniform(-1, 1)),
        "mole_y": float(rng.uniform(-1, 1)),
        "pattern": float(rng.random()),
        **_hair(rng, man, age, tone),
        **_facial_hair(rng, man),
    }
    return Traits(**given)
