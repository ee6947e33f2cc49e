"""Pages of tables and videos hold what the files hold."""

import re
from base64 import b64decode

from lrtl.files import check_file
from lrtl.pages import write_page


def test_a_table_has_the_cells_of_its_csv(tmp_path):
    (tmp_path / "table.csv").write_text('name,J,seeds\n<b>,59.0,\n"a, b",,1\n007,-1e-05,2\n')
    write_page(tmp_path / "table.csv")
    page = (tmp_path / "table.html").read_text()
    assert re.findall("<th>(.*)</th>", page) == ["name", "J", "seeds"]
    cells = ["&lt;b&gt;", "59.0", "", "a, b", "", "1", "007", "-1e-05", "2"]
    assert re.findall("<td>(.*)</td>", page) == cells
    check_file(tmp_path / "table.html")


def test_a_video_is_in_its_page(tmp_path):
    video = bytes(range(256))
    (tmp_path / "clip.mp4").write_bytes(video)
    write_page(tmp_path / "clip.mp4")
    page = (tmp_path / "clip.html").read_text()
    assert b64decode(page.partition("base64,")[2].partition('"')[0]) == video
    assert page.count("src=") == 1
