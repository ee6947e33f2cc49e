"""Tables and videos as pages of HTML of their own, which Snakemake's report shows as they are."""

from base64 import b64encode
from pathlib import Path

import pandas as pd

from lrtl.files import whole_file

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>{title}</title>
<style>
body {{ font: 14px sans-serif; color: #1e1e1e; margin: 24px; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; }}
th, td {{ padding: 4px 10px; text-align: right; border-bottom: 1px solid #ddd; }}
th {{ cursor: pointer; }}
tbody tr:hover {{ background: #f3f3f3; }}
video {{ display: block; max-width: 100%; height: 80vh; }}
</style>
{body}
</html>
"""
# A click on a column's name sorts by it: numbers from the greatest down, text from A to Z.
SORT = """<script>
document.querySelectorAll("th").forEach((head, column) => head.onclick = () => {
  const rows = document.querySelector("tbody"), cell = row => row.cells[column].textContent;
  const order = (a, b) => cell(b) - cell(a) || cell(a).localeCompare(cell(b));
  rows.append(...[...rows.children].sort(order));
});
</script>"""


def write_page(product: Path) -> None:
    """Write a page `NAME.html` beside a table `NAME.csv` or a video `NAME.mp4`, which is in it.

    The page needs no other file. A table has the cells of the CSV as they stand there.
    """
    body = {".csv": _table, ".mp4": _video}[product.suffix](product)
    with whole_file(product.with_suffix(".html")) as temporary:
        temporary.write_text(PAGE.format(title=product.name, body=body))


def _table(csv: Path) -> str:
    cells = pd.read_csv(csv, dtype=str, keep_default_na=False)
    return cells.to_html(index=False, border=0) + SORT


def _video(video: Path) -> str:
    data = b64encode(video.read_bytes()).decode()
    return f'<video controls autoplay loop muted src="data:video/mp4;base64,{data}"></video>'
