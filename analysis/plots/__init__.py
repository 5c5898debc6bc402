"""Records drawn as Plotly figures: pure functions that know neither the pages nor torch."""
