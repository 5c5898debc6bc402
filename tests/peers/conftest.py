"""Peers' packages that can live beside ours are found behind our own."""

import os
import subprocess
import sys

if "BITLENS_PEERS_PYTHON" in os.environ:
    _ASK = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
    _FOUND = subprocess.run(
        [os.environ["BITLENS_PEERS_PYTHON"], "-c", _ASK], capture_output=True, text=True, check=True
    )
    sys.path.append(_FOUND.stdout.strip())
