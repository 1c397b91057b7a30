"""From a score to a model.

`Threshold` is fixed, `QualityFloor` is a threshold with a guarantee, `Budget` follows the stream to hold a share
of strong calls. Anything that has ``choose`` as in `Policy` can be given to ``router.route(..., policy=...)``.
"""

from __future__ import annotations

from fastroute.policies.budget import Budget
from fastroute.policies.decision import Decision
from fastroute.policies.protocol import Policy
from fastroute.policies.quality_floor import QualityFloor
from fastroute.policies.threshold import Threshold

__all__ = ["Budget", "Decision", "Policy", "QualityFloor", "Threshold"]
