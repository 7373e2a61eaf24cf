"""What the image quality databases say about themselves: contents, scores, how people judged, terms, where to get them.

Sources: the score tables of the releases (checked in tests/test_score_tables.py), the readme files of LIVE release 2,
TID2013, IVC, PieAPP and AVA, the repositories of BAPPS, SPAQ and PIPAL, the papers' abstracts, and the QUALINET list of
databases (github.com/QUALINET/databases). What none of them confirms is marked "not verified" in ``notes``.
"""

from __future__ import annotations

from dataclasses import dataclass

from iqa_lab.embedded.build import EMBEDDED_DISTORTIONS
from iqa_lab.embedded.photographs import PHOTOGRAPHS


@dataclass(frozen=True)
class DatabaseFacts:
    """What a release says about itself.

    Attributes:
        kind: "FR" (with pristine references) or "NR".
        score_kind: "MOS", "DMOS" (difference to the reference's score, or a rating of the difference), "pairs" (people
            compared two images; the index has no score per image, :func:`iqa_lab.databases.load_pairs` has the
            comparisons), or "proxy": no human has rated these images, so a named full-reference score or the level must
            stand in, and must be called a proxy.
        score_range: ends of the release's scale, or bounds of the released values where a scale has no ends; None
            without a score per image.
        higher_is_better: direction of the column ``mos``, None without a score per image.
        n_contents, n_images: pristine or different scenes, and rated images, in the complete release.
        distortions: their names in the column ``distortion``, empty for photographs as people took them.
        method: how people judged.
        ratings_per_image: how many judgements stand behind a score, empty if there are none.
        citation: key in the book's bibliography.
        how_to_get: where to apply or download, and what to give to ``iqa-lab data prepare``.
        notes: what a reader of the numbers must know.
        n_kinds: kinds of distortion by the paper, where the release does not name each; else None.
    """

    name: str
    title: str
    year: int
    kind: str
    score_kind: str
    score_range: tuple[float, float] | None
    higher_is_better: bool | None
    n_contents: int
    n_images: int
    distortions: tuple[str, ...]
    method: str
    ratings_per_image: str
    licence: str
    citation: str
    homepage: str
    how_to_get: str
    notes: str = ""
    n_kinds: int | None = None

    @property
    def n_distortions(self) -> int:
        """Kinds of distortion, 0 for photographs as people took them."""
        return len(self.distortions) if self.n_kinds is None else self.n_kinds


TID2013_DISTORTIONS = (
    "additive_gaussian_noise", "colour_component_noise", "spatially_correlated_noise", "masked_noise",
    "high_frequency_noise", "impulse_noise", "quantisation_noise", "gaussian_blur", "image_denoising", "jpeg",
    "jpeg2000", "jpeg_transmission_errors", "jpeg2000_transmission_errors", "non_eccentricity_pattern_noise",
    "local_blockwise_distortion", "mean_shift", "contrast_change", "colour_saturation_change",
    "multiplicative_gaussian_noise", "comfort_noise", "lossy_compression_of_noisy_images",
    "colour_quantisation_with_dither", "chromatic_aberrations", "sparse_sampling_and_reconstruction")
KADID10K_DISTORTIONS = (
    "gaussian_blur", "lens_blur", "motion_blur", "colour_diffusion", "colour_shift", "colour_quantisation",
    "colour_saturation_1", "colour_saturation_2", "jpeg2000", "jpeg", "white_noise", "white_noise_colour",
    "impulse_noise", "multiplicative_noise", "denoise", "brighten", "darken", "mean_shift", "jitter",
    "non_eccentricity_patch", "pixelate", "quantisation", "colour_block", "high_sharpen", "contrast_change")
_LIVE_TERMS = "copying, changing and distribution allowed with the notice in full, the source and the citation"
_LIVE_METHOD = "single stimulus with the reference among them, continuous scale, laboratory"
_LIVEC_METHOD = "single stimulus, continuous scale, crowd"
_TID_METHOD = "pairs of versions beside the reference, nine for each version and observer"
_SHIPPED = "ships with iqa-lab"
_NONE_FOUND = "none found; published for research"

DATABASES = {facts.name: facts for facts in (
    DatabaseFacts(
        "embedded", "Photographs of the installed packages with ten distortions", 2026, "FR", "proxy", None, None,
        len(PHOTOGRAPHS), len(PHOTOGRAPHS) * 5 * len(EMBEDDED_DISTORTIONS), EMBEDDED_DISTORTIONS, "none", "",
        "public domain, CC0 or CC BY 2.0, photograph by photograph: iqa_lab.embedded.photographs.PHOTOGRAPHS", "",
        "", "built on first use", "It has no human scores: column mos is empty; use levels or a named proxy."),
    DatabaseFacts(
        "livec_mini", "150 photographs of LIVE in the Wild", 2015, "NR", "MOS", (0, 100), True, 150, 150, (),
        _LIVEC_METHOD, "about 175", _LIVE_TERMS, "ghadiyaram2016livec",
        "https://live.ece.utexas.edu/research/ChallengeDB/index.html", _SHIPPED,
        "Chosen to cover the MOS range evenly, which the whole release does not: correlations are not comparable."),
    DatabaseFacts(
        "live_gblur_mini", "Three blurred contents of LIVE release 2", 2005, "FR", "DMOS", (0, 100), False, 3, 15,
        ("gaussian_blur",), _LIVE_METHOD, "20 to 29", _LIVE_TERMS, "sheikh2006statistical",
        "https://live.ece.utexas.edu/research/Quality/subjective.htm", _SHIPPED,
        "Realigned DMOS; a few values of the whole release lie outside 0 to 100. References are not rated rows: "
        "their DMOS is 0 by definition."),
    DatabaseFacts(
        "live_r2", "LIVE Image Quality Assessment Database, release 2", 2005, "FR", "DMOS", (-3, 112), False, 29, 779,
        ("jpeg2000", "jpeg", "white_noise", "gaussian_blur", "fast_fading"), _LIVE_METHOD, "20 to 29",
        _LIVE_TERMS + "; nine of the references only inside the database", "sheikh2006statistical",
        "https://live.ece.utexas.edu/research/Quality/subjective.htm",
        "Fill in the form on the homepage, then give databaserelease2.zip or the unpacked folder.",
        "Realigned DMOS, whose values lie between -2.64 and 111.77. The 203 copies of references are left out: their "
        "DMOS is 0 by definition."),
    DatabaseFacts(
        "ivc", "IRCCyN/IVC image quality database", 2005, "FR", "MOS", (1, 5), True, 10, 185,
        ("blur", "jpeg2000", "jpeg", "jpeg_lumichr", "lar_coding"),
        "double stimulus impairment scale (DSIS) of five categories, laboratory", "15 observers by the readme",
        _NONE_FOUND, "lecallet2005ivc", "http://www2.irccyn.ec-nantes.fr/ivcdb/",
        "The server may no longer answer. Give IVC_SubQualityDB.zip or the unpacked folder with color/ and MOS.xls.",
        "The readme counts 235 distorted images, 50 of them gray; the colour images have scores. Their means are "
        "multiples of 1/26, not of 1/15. jpeg_lumichr is the release's name; what it varies is not verified."),
    DatabaseFacts(
        "tid2008", "Tampere Image Database 2008", 2008, "FR", "MOS", (0, 9), True, 25, 1700, TID2013_DISTORTIONS[:17],
        _TID_METHOD, "about 34 observers, nine pairs each",
        "education and research only, without fee, as TID2013 (its own readme not verified)", "ponomarenko2009tid2008",
        "https://www.ponomarenko.info/tid2008.htm",
        "Download tid2008.rar from the homepage, unpack it, and give the folder with mos_with_names.txt.",
        "838 observers, 512,856 evaluations. References and kinds 1 to 17 are in TID2013 too: not a test of a model "
        "trained there. mos_std is the standard deviation of the mean, if the release has it (not verified)."),
    DatabaseFacts(
        "csiq", "Categorical Subjective Image Quality database", 2010, "FR", "DMOS", (0, 1), False, 30, 866,
        ("white_noise", "jpeg", "jpeg2000", "pink_noise", "gaussian_blur", "contrast_change"),
        "all versions of a scene placed along a line over four monitors, laboratory", "about 6 (5,000 from 35 people)",
        _NONE_FOUND, "larson2010mad", "https://s2.smu.edu/~eclarson/csiq.html",
        "Download src_imgs.zip, dst_imgs.zip and csiq.DMOS.xlsx from the homepage, unpack both beside the table, and "
        "give that folder.",
        "Five levels; contrast has four, in four scenes three. Public lists disagree on mos_std of six scenes."),
    DatabaseFacts(
        "live_md", "LIVE Multiply Distorted Image Quality Database", 2012, "FR", "DMOS", (0, 100), False, 15, 450,
        ("gaussian_blur", "jpeg", "white_noise", "gaussian_blur_and_jpeg", "gaussian_blur_and_white_noise"),
        "single stimulus with the hidden reference, continuous scale, laboratory", "19 (part 1), 18 (part 2)",
        _LIVE_TERMS, "jayaraman2012livemd",
        "https://live.ece.utexas.edu/research/Quality/live_multidistortedimage.html",
        "Fill in the form on the homepage, unpack LIVEmultidistortiondatabase.rar, and give the folder with Part 1.",
        "Part 1 is blur, then JPEG; part 2 blur, then noise. The 45 images with blur alone are in both parts, with the "
        "scores of each part's own subjects."),
    DatabaseFacts(
        "tid2013", "Tampere Image Database 2013", 2013, "FR", "MOS", (0, 9), True, 25, 3000, TID2013_DISTORTIONS,
        _TID_METHOD, "about 39 observers, nine pairs each",
        "education and research only, without fee; notice and authors' names must stay", "ponomarenko2015tid2013",
        "https://www.ponomarenko.info/tid2013.htm",
        "Download tid2013.rar from the homepage, unpack it, and give the folder with mos_with_names.txt.",
        "mos_std is the standard deviation of the mean, not of single ratings; scores come from comparisons of pairs."),
    DatabaseFacts(
        "waterloo", "Waterloo Exploration Database", 2017, "FR", "proxy", None, None, 4744, 94880,
        ("jpeg", "jpeg2000", "gaussian_blur", "white_noise"), "none", "",
        "terms not verified; published for research", "ma2017waterloo", "https://ece.uwaterloo.ca/~k29ma/exploration/",
        "Unpack exploration_database_and_code.rar from the homepage, make the distorted images with its MATLAB code, "
        "and give the folder with pristine_images.",
        "It has no human scores: column mos is empty; made for the D, L and P tests, which use levels and proxies."),
    DatabaseFacts(
        "mdid", "Multiply Distorted Image Database", 2017, "FR", "MOS", (0, 8), True, 20, 1600, ("multiple",),
        "pairs, sorting all versions of a reference with ties allowed, laboratory", "192 people in all",
        _NONE_FOUND, "sun2017mdid", "https://www.sz.tsinghua.edu.cn/labs/vipl/mdid.html",
        "Download it from the homepage, and give the folder with mos.txt.",
        "Each image has several of noise, blur, contrast change, JPEG and JPEG 2000, at random. Not MDID2013, another "
        "database. Ends of the scale and place of the experiment not verified.", n_kinds=5),
    DatabaseFacts(
        "kadid10k", "KADID-10k", 2019, "FR", "DMOS", (1, 5), True, 81, 10125, KADID10K_DISTORTIONS,
        "degradation category rating beside the reference, five categories, crowd", "30",
        "freely available to the research community; no formal licence", "lin2019kadid10k",
        "https://database.mmsp-kn.de/kadid-10k-database.html",
        "Download kadid10k.zip from the homepage, and give it or the unpacked folder.",
        "Called DMOS, but higher is better: 5 is no visible difference to the reference."),
    DatabaseFacts(
        "pipal", "PIPAL, public training part", 2020, "FR", "MOS", (868, 1858), True, 200, 23200,
        tuple(f"group_{group:02d}" for group in range(7)), "pairs, turned into Elo ratings",
        "1.13 million comparisons in all", _NONE_FOUND, "gu2020pipal",
        "https://www.jasongt.com/projectpages/pipal.html",
        "Download the training part (Train_Ref, Train_Label, Distortion_1 to 4), and give the folder that holds them.",
        "The paper has 250 references and 40 kinds, also outputs of restoration and GANs; the names show only seven "
        "groups. Scores of the test part were never public. An Elo rating has no unit that other databases share.",
        n_kinds=40),
    DatabaseFacts(
        "pieapp", "PieAPP", 2018, "FR", "pairs", None, None, 200, 20280, (),
        "pairs, which is closer to the reference, crowd", "40 for each pair",
        "non-commercial and educational use only", "prashnani2018pieapp",
        "https://github.com/prashnani/PerceptualImageError",
        "Download all_data_PieAPP_dataset_CVPR_2018.zip, linked on the homepage, and give it or the unpacked folder.",
        "81,480 pairs; where training pairs were not asked, the share is the authors' estimate and n_ratings is empty. "
        "References come from Waterloo. Scores of single test images are not read. Number of kinds not verified.",
        n_kinds=75),
    DatabaseFacts(
        "bapps", "Berkeley-Adobe Perceptual Patch Similarity, 2AFC part", 2018, "FR", "pairs", None, None,
        187744, 375488, ("traditional", "cnn", "mix", "superres", "deblur", "color", "frameinterp"),
        "two-alternative forced choice, which patch is closer to the reference, crowd", "2 (training), 5 (validation)",
        "BSD 2-clause code; none stated for the patches", "zhang2018lpips",
        "https://github.com/richzhang/PerceptualSimilarity",
        "Run scripts/download_dataset.sh of the homepage, and give the folder 2afc.",
        "Patches, and families of distortions rather than kinds. The exact number of validation triplets (36,344) is "
        "not verified. The JND part is not read."),
    DatabaseFacts(
        "bid", "Blurred Image Database", 2011, "NR", "MOS", (0, 5), True, 586, 586, (),
        "single stimulus, continuous scale (not verified)", "10 to 20, 11 on average", _NONE_FOUND, "ciancio2011bid",
        "http://www02.smt.ufrj.br/~eduardo/eduardo_oficial/ImageDatabase.htm",
        "The server may no longer answer. Unpack ImageDatabase.tgz, and give the folder with DatabaseGrades.xls.",
        "Seven averages disagree with the single grades beside them by up to 0.32; the averages are kept."),
    DatabaseFacts(
        "ava", "Aesthetic Visual Analysis", 2012, "NR", "MOS", (1, 10), True, 255530, 255530, (),
        "marks from 1 to 10 by members of a photography site, in contests", "78 to 549, 210 on average",
        "rights stay with the photographers; no redistribution", "murray2012ava",
        "https://github.com/imfing/ava_downloader",
        "Get AVA.txt and the photographs as the homepage says, and give their folder with --present-only: some "
        "photographs are no longer had.",
        "Aesthetics, not technical quality. The number of photographs is that of AVA.txt (not verified)."),
    DatabaseFacts(
        "cid2013", "CID2013, camera image database", 2013, "NR", "MOS", (-10, 88), True, 8, 474, (),
        "absolute category rating after a slide show of the scene (DR-ACR), laboratory", "about 30",
        "copying, changing and distribution allowed with the notice in full and the source; single images only inside "
        "the database", "virtanen2015cid2013", "https://zenodo.org/records/2647033",
        "Download CID2013.zip from the homepage; it may ask for a password from the authors. Give the folder with "
        "'CID2013 data - version 12112014.xlsx'.",
        "Eight scenes, 79 cameras in six image sets; realigned MOS, -9.55 to 87.88. The paper counts 480 images. Not "
        "the contrast database CID2013 of Gu et al."),
    DatabaseFacts(
        "srij", "SRIJ, super-resolved images", 2020, "FR", "MOS", (0, 100), True, 32, 608,
        ("bicubic", "yang2010", "dong2011", "yang2013", "timofte2013", "srcnn", "srgan"),
        "continuous scale, 43 people of whom 36 were kept, z-scores brought to 0 to 100", "36",
        "none stated; ask the authors before passing it on", "beron2020srij", "https://github.com/juanpaberon/IQA_SR",
        "Give the folder with mos.csv, raw_scores.csv, images and ground_truth. The repository has TIFF images and MATLAB "
        "files: save the images as PNG, and the variables of HumanStudy as these two tables.",
        "Gray images of 528x528, enlarged 2, 3 and 4 times (srgan: 4), which is the level. The single ratings are there. "
        "The 32 originals were rated as hidden references, and are left out."),
    DatabaseFacts(
        "livec", "LIVE in the Wild Image Quality Challenge Database", 2015, "NR", "MOS", (0, 100), True, 1162, 1162, (),
        _LIVEC_METHOD, "about 175", _LIVE_TERMS, "ghadiyaram2016livec",
        "https://live.ece.utexas.edu/research/ChallengeDB/index.html",
        "Fill in the form on the homepage, then give ChallengeDB_release.zip or the unpacked folder.",
        "175 ratings per image on average, not stated per image; the seven training images t1 to t7 are left out."),
    DatabaseFacts(
        "koniq10k", "KonIQ-10k", 2020, "NR", "MOS", (1, 100), True, 10073, 10073, (),
        "absolute category rating, five categories, crowd", "93 to 157, 107 on average",
        "photographs under Creative Commons licences of their authors (YFCC100M); see the homepage", "hosu2020koniq10k",
        "https://database.mmsp-kn.de/koniq-10k-database.html",
        "`iqa-lab data prepare koniq10k` downloads it (0.8 GB at 512x384); or give a folder with 512x384 or 1024x768 "
        "and koniq10k_distributions_sets.csv.",
        "mos is the release's z-score MOS, the one its papers use; the published SD is on the 1 to 5 scale of votes, "
        "so mos_std is empty. Official split: training, validation, test."),
    DatabaseFacts(
        "spaq", "Smartphone Photography Attribute and Quality", 2020, "NR", "MOS", (0, 100), True, 11125, 11125, (),
        "single stimulus, continuous scale, laboratory", "at least 15 (not verified)",
        "education and research only; no commercial product without permission", "fang2020spaq",
        "https://github.com/h4nwei/SPAQ",
        "Download it by a link on the homepage, and give the folder with TestImage and the table 'MOS and Image "
        "attribute scores.xlsx'.", "Photographs of 66 smartphones at full size, some several thousand pixels wide."),
    DatabaseFacts(
        "biq2021", "BIQ2021", 2021, "NR", "MOS", (0, 1), True, 12000, 12000, (),
        "single stimulus, five categories, laboratory", "30", "none stated; published for research",
        "ahmed2022biq2021", "https://github.com/nisarahmedrana/BIQ2021",
        "Download the repository from the homepage as an archive, and give it or the unpacked folder.",
        "Official split in column split (train 10,000, test 2,000)."),
)}
