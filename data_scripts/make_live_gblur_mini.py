"""Makes the shipped database live_gblur_mini from the Gaussian-blur part of LIVE release 2.

``python -m iqa_lab.data_scripts.make_live_gblur_mini FOLDER``, where FOLDER holds refimgs/, gblur/, the notice and
index_present.csv (image, reference, dmos_realigned, dmos_std, blur_sigma). Three references that are
public-domain Kodak PhotoCD images, with their blurred versions, compressed again without loss.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pandas as pd
from PIL import Image

from iqa_lab.data_scripts.release_files import make_table
from iqa_lab.data_scripts.shipped_files import write_shipped
from iqa_lab.embedded import SHIPPED

REFERENCES = ("caps", "parrots", "rapids")  # smooth, mixed, busy: DMOS 23 to 88
NOTICE = "LIVE_Copyright_Notice.txt"
#: The notice allows these only inside the database: from the CD "Austin and Vicinity".
NOT_FREE = {"coinsinfountain", "dancers", "flowersonih35", "studentsculpture", "carnivaldolls", "cemetry", "manfishing",
            "churchandcapitol", "building2"}
SOURCE = """# live_gblur_mini: three blurred contents of the LIVE Image Quality Assessment Database, release 2

- Original source: Laboratory for Image and Video Engineering (LIVE, http://live.ece.utexas.edu) and Center for
  Perceptual Systems (CPS, http://www.cps.utexas.edu) at the University of Texas at Austin.
- Copyright notice and terms: {notice} in this folder, in full. The three references are among those that it calls
  public domain Kodak PhotoCD images; none is from the CD "Austin and Vicinity".
- Cite: H. R. Sheikh, Z. Wang, L. Cormack and A. C. Bovik, "LIVE Image Quality Assessment Database Release 2"; H. R.
  Sheikh, M. F. Sabir and A. C. Bovik, "A statistical evaluation of recent full reference image quality assessment
  algorithms", IEEE TIP 15(11), 2006; Z. Wang, A. C. Bovik, H. R. Sheikh and E. P. Simoncelli, "Image quality
  assessment: from error visibility to structural similarity", IEEE TIP 13(4), 2004.
- Here: {references} with their {n} blurred images; BMP to PNG, pixels identical. index.csv holds the realigned DMOS
  (lower is better) with its standard deviation; level is the rank of the blur within each content, 1 is the weakest.
- Left out: the other 26 contents of the blur part with their 130 images, and the parts jp2k, jpeg, wn and fastfading.
  The references have no row of their own: their DMOS is 0 by definition.
"""


def main(source: Path) -> None:
    """Writes references, blurred images, notice, index, hashes and SOURCE.md."""
    if set(REFERENCES) & NOT_FREE:
        raise ValueError(f"Expected Kodak references only, got {set(REFERENCES) & NOT_FREE}; the notice forbids them.")
    folder = SHIPPED / "live_gblur_mini"
    shutil.rmtree(folder, ignore_errors=True)
    listed = pd.read_csv(source / "index_present.csv")
    listed["content"] = listed["reference"].str.removesuffix(".png")
    listed = listed[listed["content"].isin(REFERENCES)].sort_values(["content", "blur_sigma"])
    table = make_table({
        "image": "gblur/" + listed["image"], "reference": "refimgs/" + listed["reference"],
        "content": listed["content"], "distortion": "gaussian_blur", "level": listed.groupby("content").cumcount() + 1,
        "mos": listed["dmos_realigned"], "mos_std": listed["dmos_std"]})
    for image in [*table["image"], *table["reference"].unique()]:
        copy_lossless(source / image, folder / image)
    shutil.copyfile(source / NOTICE, folder / NOTICE)
    write_shipped(folder, table, SOURCE.format(notice=NOTICE, references=", ".join(REFERENCES), n=len(table)))


def copy_lossless(source: Path, target: Path) -> None:
    """Writes the image as the smallest of PNG as given and PNG compressed again; the pixels stay the same."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(source) as image:
        image.convert("RGB").save(target, optimize=True)
    if target.stat().st_size > source.stat().st_size:
        shutil.copyfile(source, target)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
