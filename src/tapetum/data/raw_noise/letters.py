"""Names of noise models: which kinds of noise there are. No torch.

====== ========================================================================================
``u``  quantisation: uniform in one DN, added **before** the shot noise, as published
``P``  photon (shot) noise: ``K * Poisson(m / K)``
``p``  its Gaussian approximation, variance ``K * m``
``r``  one Gaussian value for each row of the mosaic
``g``  Gaussian read noise
``G``  Tukey-lambda read noise
====== ========================================================================================

``P`` goes before ``p`` and ``g`` before ``G`` where a name holds both.
"""

from __future__ import annotations

from dataclasses import dataclass

from tapetum.errors import UsageError

_LETTERS = "PpgGru"


@dataclass(frozen=True)
class NoiseModel:
    """Which kinds of noise there are.

    ``shot``: "poisson", "gaussian" or None; ``read``: "gaussian", "tukey" or None.
    """

    shot: str | None
    read: str | None
    rows: bool
    quantisation: bool

    @classmethod
    def parse(cls, name: str) -> NoiseModel:
        """A published name, letters joined by ``+``: "P+g", "P+G+r+u".

        Raises:
            UsageError: an unknown letter, or none.
        """
        letters = name.split("+")
        unknown = [letter for letter in letters if len(letter) != 1 or letter not in _LETTERS]
        if unknown:
            raise UsageError(
                f"unknown part {unknown[0]!r} of the noise model {name!r}: join some of P, p, g, G, r, u by +, as in "
                "P+g or P+G+r+u"
            )
        shot = "poisson" if "P" in letters else "gaussian" if "p" in letters else None
        read = "gaussian" if "g" in letters else "tukey" if "G" in letters else None
        return cls(shot, read, "r" in letters, "u" in letters)
