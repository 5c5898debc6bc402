"""What weights and activations look like, and what a grid makes of them."""

import streamlit as st

from analysis.plots.roles import ROLE_WORDS
from pages.ui import distributing, layer_numbers, one_tensor, recalibrated, shell

page = shell.open_page(
    "Distributions",
    "Why does a layer hurt: what do its weights and activations look like, and what does a grid "
    "make of them?",
)
view = distributing.ask(page)
found, other = distributing.obtain(page, view)
if found is None:
    distributing.commands(page, view)
    st.stop()
distributing.findings(found, view)
layer = distributing.all_layers(found, other, view)
one_tensor.one_layer(page, view, found, other, layer)
if view.recalibrations:
    recalibrated.accuracy(page, view.recalibrations)
layer_numbers.table(found, other, view.role, view.bits, what=ROLE_WORDS[view.role], word=view.word)
distributing.float_modules(page)
distributing.commands(page, view)
