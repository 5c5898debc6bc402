"""``python -m analysis STEP``."""

import os
import sys

from analysis.cli import main

# Threads of torch that wait must not spin. Read once, when torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

if __name__ == "__main__":
    sys.exit(main())
