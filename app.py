"""Entry point of ``streamlit run app.py``.

The main script lies in ``pages/`` so that no ``pages/`` folder lies beside it: otherwise the server
would take a cold deep link for a page of the old multipage mode and run that page alone.
"""

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import streamlit as st

sys.path.insert(0, str(Path(__file__).parent))
# Threads of torch that wait must not spin: server, browser and jobs share the cores. Read once,
# when torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from pages.ui import resources

# A job gives up the interpreter at every torch call; with Python's 5 ms turns, sessions that draw
# pages would each time keep it waiting far longer than the call takes.
sys.setswitchinterval(5e-4)


@asynccontextmanager
async def lifespan(_: Any) -> AsyncIterator[None]:
    """Load the heavy libraries beside the first page view; end jobs with the server."""
    resources.warm_up()
    yield
    resources.shut_down()


app = st.App("pages/main.py", lifespan=lifespan)
