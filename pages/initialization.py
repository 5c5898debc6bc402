"""What an initializer does to trained ranges and to quantized accuracy."""

import streamlit as st

from pages.ui import initializing, shell

shell.header(
    "Initialization",
    "Where do wide ranges come from, and what does the initializer cost once a network is "
    "quantized?",
)
trained, loaded = st.tabs(["Train small networks", "This model and its start"])
with trained:
    initializing.lab()
with loaded:
    initializing.presence()
