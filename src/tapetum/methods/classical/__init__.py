"""Enhancement without learning: gamma, histogram equalisation, CLAHE, LIME. NumPy only: no torch, no weights.

Each looks at the whole picture once (``analyse``) and then changes any part of it (``apply``), so that the parts of a
picture of any size are those of the whole: tiles show no steps, and what memory there is has no part in the result.
"""

from __future__ import annotations

from tapetum.methods.classical.clahe import CLAHE
from tapetum.methods.classical.contract import Classical
from tapetum.methods.classical.gamma import GAMMA
from tapetum.methods.classical.histogram import HISTOGRAM_EQUALISATION
from tapetum.methods.classical.lime import LIME

METHODS: dict[str, Classical] = {method.name: method for method in (GAMMA, HISTOGRAM_EQUALISATION, CLAHE, LIME)}
