"""timm, without the tracker that it imports wherever one is installed: half a second of each start.

from janus.load_timm import timm
"""

from __future__ import annotations

import sys
from typing import Any

_hide = "wandb" not in sys.modules
if _hide:
    sys.modules["wandb"] = None  # type: ignore[assignment]  # timm does without what it cannot import
try:
    import timm as _timm
finally:
    if _hide:
        del sys.modules["wandb"]

timm: Any = _timm
