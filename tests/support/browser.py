"""Opens web pages in a real browser."""

import json
import re
import shutil
import subprocess
from html import unescape

import pytest

MEASURED = """<script>
const page = document.documentElement, found = {
  title: document.title,
  text: document.body.innerText,
  polylines: document.querySelectorAll("svg polyline").length,
  overflow: page.scrollWidth - page.clientWidth,
};
const written = document.createElement("pre");
written.id = "found";
written.textContent = JSON.stringify(found);
document.body.appendChild(written);
</script>"""


def text_in_browser(path):
    """Returns title, text, number of lines in figures, and excess width in pixels of a page that a browser shows.

    Skips the test where there is no Chromium.
    """
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        pytest.skip("needs a browser: no chromium, chromium-browser or google-chrome on the path")
    copy = path.with_name(f"measured-{path.name}")
    copy.write_text(path.read_text(encoding="utf-8").replace("</body>", f"{MEASURED}</body>"), encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={path.parent / 'browser'}"]
    shown = subprocess.run(
        [browser, *options, "--window-size=800,900", "--dump-dom", copy.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    ).stdout  # fmt: skip
    return json.loads(unescape(re.search(r'<pre id="found">(.*?)</pre>', shown, re.DOTALL).group(1)))
