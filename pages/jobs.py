"""What runs, what ended, what is stored."""

import streamlit as st

from pages.ui import job_list, shell, store_view

shell.header("Jobs and store", "What is running, what came of it, and what is kept?")
job_list.draw()
st.divider()
st.subheader("Store", anchor=False)
store_view.draw()
shell.command("python -m analysis cache verify")
