"""Find a Chromium for the browser tests; with --install, install one where there is none."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_browser() -> str | None:
    """Return the path of a Chromium, None if there is none.

    ``BITLENS_BROWSER`` names one; otherwise the usual names are looked up, then playwright's own.
    """
    named = os.environ.get("BITLENS_BROWSER")
    if named:
        return named
    for name in NAMES:
        found = shutil.which(name)
        if found:
            return found
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    return path if Path(path).exists() else None


def install() -> None:
    """Install Chromium from the system's packages, or playwright's own build."""
    if shutil.which("apt-get") and os.geteuid() == 0:
        subprocess.run(["apt-get", "update", "-q"], check=False)
        done = subprocess.run(["apt-get", "install", "-y", "-q", "chromium"], check=False)
        if done.returncode == 0:
            return
    subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], check=True)


if __name__ == "__main__":
    if find_browser() is None and "--install" in sys.argv:
        install()
    browser = find_browser()
    if browser is None:
        sys.exit("No Chromium was found: install one or set BITLENS_BROWSER to its path.")
    print(f"browser: {browser}")
