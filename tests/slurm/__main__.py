"""`python -m tests.slurm [FOLDER]`: the virtual site to try things on; Ctrl-C ends it."""

from __future__ import annotations

import signal
import sys
import tempfile
from pathlib import Path

from tests.slurm.site import Site, missing

if __name__ == "__main__":
    if why := missing():
        sys.exit(f"error: {why}")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    root = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp(prefix="slurm-")).resolve()
    with Site(root) as site:
        print(f"export SLURM_CONF={site.env['SLURM_CONF']}", flush=True)
        try:
            signal.pause()
        except KeyboardInterrupt:
            print("ending", file=sys.stderr)
