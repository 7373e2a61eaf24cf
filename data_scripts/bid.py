"""BID, the blurred image database: from the official release to index.csv.

Ciancio et al., No-reference blur assessment of digital pictures based on multifeature classifiers, IEEE TIP 20(1),
2011. Layout: DatabaseGrades.xls (image number, average, number of grades, up to 20 grades) and the photographs, named
DatabaseImage0001.JPG, beside it or in ImageDatabase/.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from iqa_lab.data_scripts.release_files import find_sheet, locate_images, make_table, read_sheet

SIZES = None
COLUMNS = ("Image Number", "Average Subjective Grade", "Number of Grades")
FOLDER = "ImageDatabase"


def parse_release(source: Path) -> tuple[Path, pd.DataFrame]:
    """Returns the release folder and one row per listed image: the index columns and ``present``.

    ``mos_std`` is the standard deviation (n - 1) of the single grades in the sheet.

    Raises:
        FileNotFoundError: the sheet is not there. ValueError: it cannot be read, or has other columns or numbers.
    """
    path = find_sheet(source, "DatabaseGrades")
    sheet = read_sheet(path, COLUMNS)
    numbers, mos, n_ratings = (pd.to_numeric(sheet[column], errors="coerce") for column in COLUMNS)
    if numbers.isna().any():
        raise ValueError(f"Expected a number in every row of the column 'Image Number' of {path}, got "
                         f"{sheet.loc[numbers.isna(), 'Image Number'].iloc[0]!r}; save the sheet again.")
    names = [f"DatabaseImage{int(number):04d}.JPG" for number in numbers]
    images, there = locate_images(path.parent, FOLDER if (path.parent / FOLDER).is_dir() else "", names)
    grades = sheet.filter(like="Grade #").apply(pd.to_numeric, errors="coerce")
    return path.parent, make_table({"image": images, "content": [Path(name).stem for name in names], "mos": mos,
                                    "mos_std": grades.std(axis=1), "n_ratings": n_ratings, "present": there})
