"""Differences between a run's files and the committed ones."""

import pytest

from lavae_companion.runner.compare import SAME, differences, summary

TABLE = "name,value,verdict\na,100.0,holds\nb,0.5,holds\n"
OTHERS = {
    "the same": (TABLE, SAME),
    "a number": (TABLE.replace("100.0", "101.0"), "1.00%"),
    "a small number, beside a hundredth of the largest": (TABLE.replace("0.5", "0.6"), "10.00%"),
    "a verdict": (TABLE.replace("0.5,holds", "0.5,fails"), "1 of 4 texts"),
    "a row less": (TABLE.rsplit("b,")[0], "rows"),
    "another column": (TABLE.replace("value", "error"), "columns"),
    "an empty number": (TABLE.replace("100.0", ""), "empty"),
}


@pytest.mark.parametrize(("text", "expected"), OTHERS.values(), ids=OTHERS)
def test_tables(tmp_path, text, expected):
    for folder, content in (("own", text), ("committed", TABLE)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "table.csv").write_text(content)
    [[name, difference]] = differences(tmp_path / "own", tmp_path / "committed")
    assert name == "table.csv" and expected in difference


def test_pictures_and_files_that_only_one_has(tmp_path):
    for folder, content in (("own", b"1"), ("committed", b"2")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "figure.gif").write_bytes(content)
        (tmp_path / folder / "figure.png").write_bytes(content)
        (tmp_path / folder / f"{folder}.png").write_bytes(content)
        (tmp_path / folder / "same.png").write_bytes(b"0")
    rows = differences(tmp_path / "own", tmp_path / "committed")
    assert [name for name, _ in rows] == ["figure.gif", "figure.png", "same.png"]
    assert summary(rows)[-1] == ["1 of 3 files", SAME] and len(summary(rows)) == 3
