"""How Ray is set up: no telemetry, loopback only, a token, no snapshots. Does not import it."""

from __future__ import annotations

import os
from pathlib import Path

OBJECT_STORE_BYTES = 100_000_000
"""Ray's least comfortable size: nothing large passes through it."""

USER_TOKEN = Path("~/.ray/auth_token").expanduser()


def ray_settings() -> dict[str, str]:
    """{environment variable: value}, for before the import."""
    settings = {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AIR_NEW_OUTPUT": "0",
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C reaches our caller, not Tune
        "TUNE_GLOBAL_CHECKPOINT_S": "1000000",  # no snapshots of a state that we never restore
    }
    if not os.environ.get("RAY_ADDRESS"):
        settings["RAY_AUTH_MODE"] = "token"
        settings["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # its switch for loopback only
    elif "RAY_AUTH_TOKEN_PATH" in os.environ or USER_TOKEN.exists():
        settings["RAY_AUTH_MODE"] = os.environ.get("RAY_AUTH_MODE", "token")
    return settings
