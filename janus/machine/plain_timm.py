"""One switch that turns every change of timm's network for speed off: JANUS_PLAIN_TIMM=1.

The changes (janus/nn: cast_cache.py, cls_only_block.py, matmul.py) compute the same values up to
rounding. Switch them off to see whether one of them is behind a result, or with a version of timm
whose classes have changed. The record of a run says so, because the last bits of its result differ.
"""

from __future__ import annotations

import os

VARIABLE = "JANUS_PLAIN_TIMM"


def plain_timm() -> bool:
    """Whether the environment asks for timm's network as it is."""
    return os.environ.get(VARIABLE, "0") not in ("", "0")
