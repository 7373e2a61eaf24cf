"""NETWORK_RECIPES: how each network learns from opinions, as plain data with its source."""

from __future__ import annotations

from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the result of a training beside model and database.

    Attributes:
        epochs: passes over the training part.
        batch_size: patches, images or comparisons per step, by ``samples``.
        learning_rate: at the beginning.
        patches_per_image: how many patches of the grid each image gives per epoch, drawn anew, None for all; or how many
            crops of each image a step takes.
        source: where the settings come from, and what differs.
        seed: decides the split, the first weights, the order of the samples, crops and dropout.
        samples: "patches" (of the grid, each with its image's opinion score), "crops" (of whole images and their
            references), "preferences" (comparisons of two versions of a reference) or "discriminable" (features of two
            images whose order full-reference metrics agree on).
        loss: the model's method that is minimised: "loss", or of a first stage without opinions "error_loss" (what the
            reference says), "type_loss" (what was done to the image) or "rank_loss" (which one is better).
        crop_side: of the crops in pixels; 0 for the model's ``patch_size``.
        squeezed: bring the images that are learned from to so many pixels on both sides first; 0 leaves them as they are.
        optimiser: "adam", "nadam" or "sgd", whose momentum is the first of ``betas``.
        betas, weight_decay: of the optimiser.
        decay_epochs: how many of the last epochs the learning rate falls in, in equal steps towards 0.
        tenth_every: after how many epochs the learning rate falls to a tenth, again and again; 0 for never.
        mirrored: flip half of the images from left to right.
        comparisons_per_epoch: how many comparisons, or discriminable pairs, are drawn for each epoch; None for all.
        options: of the model, as :func:`iqa_lab.create_metric` takes them.
        precision: "float32", or "bfloat16" for mixed precision.
        compiled: let torch.compile translate the loss first.
        trainable: what of the model learns, as its ``set_trainable`` takes it; "" for what does at first.
        renewed_optimiser: repeats a slip in the code of HyperIQA: the optimiser is made anew in each epoch, and from the
            second one on without its groups behind the first.
        chosen_on: "validation" chooses the epoch honestly; "test" repeats authors who reported their best test epoch.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    patches_per_image: int | None
    source: str
    seed: int = 0
    samples: str = "patches"
    loss: str = "loss"
    crop_side: int = 0
    squeezed: int = 0
    optimiser: str = "adam"
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    decay_epochs: int = 0
    tenth_every: int = 0
    mirrored: bool = False
    comparisons_per_epoch: int | None = None
    options: dict[str, object] = field(default_factory=dict)
    precision: str = "float32"
    compiled: bool = False
    trainable: str = ""
    renewed_optimiser: bool = False
    chosen_on: str = "validation"


_LPIPS_RECIPES = {
    "fast": Recipe(epochs=4, batch_size=50, learning_rate=1e-4, patches_per_image=1, samples="preferences", betas=(0.5, 0.999),
                   decay_epochs=2, comparisons_per_epoch=2000, source="as full, with fewer epochs, and 2000 comparisons in each"),
    "full": Recipe(epochs=10, batch_size=50, learning_rate=1e-4, patches_per_image=1, samples="preferences",
                   betas=(0.5, 0.999), decay_epochs=5,
                   source="paper and code: 5 epochs and 5 with a falling rate, 64 x 64 pixels; BAPPS has patches of that size, "
                          "of other databases one random crop is taken"),
}
# The paper's recipe is not at hand; its heads are those of LPIPS.
_SWDN_RECIPES = {
    "fast": replace(_LPIPS_RECIPES["fast"], epochs=2, decay_epochs=1, source="as full, with 2 epochs of 2000 comparisons"),
    "full": replace(_LPIPS_RECIPES["full"], source="the recipe of LPIPS, whose heads these are")}
_WADIQAM = dict(batch_size=4, learning_rate=1e-4, samples="crops", patches_per_image=32)
_WADIQAM_RECIPES = {
    "fast": Recipe(epochs=15, decay_epochs=5, **_WADIQAM | {"learning_rate": 4e-4}, options={"width": 0.25},
                   source="reduced for CPUs: 15 epochs, a quarter of the channels, and a larger rate that falls at the end"),
    "full": Recipe(epochs=3000, **_WADIQAM, source="paper (not at hand; by the specification): 32 new patches of each image in "
                                                   "every epoch, four images in a step"),
}
_DIQA = dict(batch_size=4, samples="crops", optimiser="nadam", mirrored=True)
_DIQA_RECIPES = {
    "fast": Recipe(epochs=12, learning_rate=5e-4, patches_per_image=2, decay_epochs=4, options={"width": 0.33}, **_DIQA,
                   source="reduced for CPUs: second stage alone, 12 epochs, 2 crops, a third of the channels, a larger rate"),
    "full": Recipe(epochs=300, learning_rate=2e-4, patches_per_image=3, **_DIQA,
                   source="second stage: Nadam 2e-4 as a public notebook quotes the paper, 300 epochs as an unofficial port, "
                          "which takes its best test epoch; DeepBQA's own recipe is not known"),
}
_DBCNN_RECIPES = {
    "fast": Recipe(epochs=10, batch_size=8, learning_rate=1e-3, patches_per_image=1, samples="crops", mirrored=True,
                   decay_epochs=5, options={"patch_size": 224},
                   source="reduced for CPUs: the last layer alone, Adam, fewer epochs and crops of 224"),
    "full": Recipe(epochs=50, batch_size=8, learning_rate=1e-5, patches_per_image=1, samples="crops", mirrored=True,
                   weight_decay=5e-4, trainable="all",
                   source="second stage of the authors' DBCNN.py at 16c3156; start it from the weights of the first stage "
                          "(SGD, rate 1e-3, momentum 0.9, last layer alone), or from random ones in one stage"),
}
_HYPERIQA = dict(samples="crops", patches_per_image=25, mirrored=True, weight_decay=5e-4, learning_rate=2e-5, batch_size=4,
                 trainable="all")
_HYPERIQA_RECIPES = {
    "fast": Recipe(epochs=10, batch_size=8, learning_rate=1e-3, patches_per_image=2, samples="crops", mirrored=True,
                   weight_decay=5e-4, decay_epochs=5,
                   source="reduced for CPUs: backbone frozen, fewer crops and epochs, a larger rate"),
    "full": Recipe(epochs=15, tenth_every=5, **_HYPERIQA,
                   source="paper, by the specification: 100 crops in a step (96 there), those of 4 images"),
    "authors": Recipe(epochs=16, renewed_optimiser=True, chosen_on="test", **_HYPERIQA,
                      source="what the authors' code does: optimiser made anew, hyper network trained in the first epoch "
                             "alone, a rate of the backbone that never falls, best epoch on the test images"),
}
_NIMA_RECIPES = {
    "fast": Recipe(epochs=8, batch_size=16, learning_rate=1e-3, patches_per_image=1, samples="crops", mirrored=True,
                   decay_epochs=4, source="reduced for CPUs: the last layer alone, Adam, 8 epochs"),
    "full": Recipe(epochs=25, batch_size=64, learning_rate=1e-3, patches_per_image=1, samples="crops", mirrored=True,
                   squeezed=256, source="port of idealo for TID2013: 25 epochs of the last layer with Adam; its 25 further ones "
                                        "of all layers at 3e-7 are left to --start"),
}
_PQR = dict(samples="crops", mirrored=True)
_PQR_FULL = Recipe(epochs=40, batch_size=2, learning_rate=1e-2, patches_per_image=500, optimiser="sgd", decay_epochs=39,
                   weight_decay=5e-4, **_PQR,
                   source="authors' code: 500 patches of each image in an epoch, about 1024 in a step, momentum 0.9; its rate "
                          "falls to 1e-3 evenly in its logarithm, and its best test epoch counts")

#: Model -> mode -> recipe.
NETWORK_RECIPES: dict[str, dict[str, Recipe]] = {
    "cnniqa": {
        "fast": Recipe(epochs=15, batch_size=64, learning_rate=1e-3, patches_per_image=16,
                       source="reduced for CPUs: fewer epochs, and some patches of each image instead of all"),
        "full": Recipe(epochs=40, batch_size=128, learning_rate=1e-3, patches_per_image=None,
                       source="optimiser, rate and batch of the port lidq92/CNNIQA (the authors' code is not public); "
                              "40 epochs as in the paper, where the port takes 500"),
    },
    "deepqa": {
        "fast": Recipe(epochs=6, batch_size=5, learning_rate=1e-3, patches_per_image=4, samples="crops", optimiser="nadam",
                       weight_decay=0.01, mirrored=True, decay_epochs=2,
                       source="reduced for CPUs: 6 epochs, 4 crops, and a larger rate that falls at the end"),
        "full": Recipe(epochs=80, batch_size=5, learning_rate=1e-4, patches_per_image=20, samples="crops", optimiser="nadam",
                       weight_decay=0.01, mirrored=True,
                       source="authors' code for LIVE; theirs takes all patches of a grid, decays weights but no bias"),
    },
    "wadiqam_fr": _WADIQAM_RECIPES,
    "diqam_fr": _WADIQAM_RECIPES,
    "pieapp": {
        "fast": Recipe(epochs=3, batch_size=8, learning_rate=3e-4, patches_per_image=8, samples="preferences",
                       comparisons_per_epoch=1000, decay_epochs=1, options={"width": 0.125},
                       source="reduced for CPUs: an eighth of the channels, 8 patches, 1000 comparisons an epoch"),
        "full": Recipe(epochs=100, batch_size=8, learning_rate=1e-4, patches_per_image=36, samples="preferences",
                       source="36 patches and Adam as commonly quoted; the authors' repository has no training code, and "
                              "batch and epochs are ours"),
    },
    "wadiqam_nr": _WADIQAM_RECIPES,
    "diqam_nr": _WADIQAM_RECIPES,
    "iqacnnpp": {
        "fast": Recipe(epochs=15, batch_size=4, learning_rate=1e-3, patches_per_image=32, samples="crops",
                       source="reduced for CPUs: fewer epochs at ten times the rate"),
        "full": Recipe(epochs=500, batch_size=4, learning_rate=1e-4, patches_per_image=32, samples="crops",
                       source="port lidq92/CNNIQAplusplus: Adam, 1e-4, 128 patches a step, 500 epochs (main.py; 400 in "
                              "config.yaml); random crops instead of all patches of the grid"),
    },
    "two_stream": {
        "fast": Recipe(epochs=8, batch_size=4, learning_rate=1e-3, patches_per_image=16, samples="crops",
                       source="reduced for CPUs: as full, with 8 epochs and half the crops"),
        "full": Recipe(epochs=200, batch_size=4, learning_rate=1e-3, patches_per_image=32, samples="crops",
                       source="unofficial port: Adam, 1e-3, 128 patches a step, 200 epochs; random crops instead of all "
                              "patches of the grid"),
    },
    "meon": {
        "fast": Recipe(epochs=30, batch_size=10, learning_rate=1e-3, patches_per_image=4, decay_epochs=15, samples="crops",
                       mirrored=True, source="40 crops in a step as full; 30 epochs and a larger rate that falls"),
        "full": Recipe(epochs=200, batch_size=40, learning_rate=1e-4, patches_per_image=1, decay_epochs=100,
                       samples="crops", mirrored=True,
                       source="Adam with a falling rate of 1e-4 and 40 crops in a step as commonly quoted; epochs and fall "
                              "are ours"),
    },
    "dbcnn": _DBCNN_RECIPES,
    "dbcnn_efficientnet_lite0": _DBCNN_RECIPES,
    "hyperiqa": _HYPERIQA_RECIPES,
    "hyperiqa_efficientnet_lite0": _HYPERIQA_RECIPES,
    "biecon": {
        "fast": Recipe(epochs=15, batch_size=8, learning_rate=3e-4, patches_per_image=40, samples="crops", mirrored=True,
                       weight_decay=2e-4, decay_epochs=5, options={"width": 0.25},
                       source="reduced for CPUs: second stage alone, 15 epochs, 40 crops of which 32 are kept, a quarter of "
                              "the channels, a larger rate"),
        "full": Recipe(epochs=100, batch_size=8, learning_rate=1e-5, patches_per_image=384, samples="crops", mirrored=True,
                       weight_decay=2e-4,
                       source="second stage of the authors' release; theirs takes the whole grid (384 patches of a LIVE "
                              "image), decays weights but no bias, and reports its best test epoch"),
    },
    "nima": _NIMA_RECIPES,
    "nima_efficientnet_lite0": _NIMA_RECIPES | {"full": replace(_NIMA_RECIPES["full"], squeezed=0)},
    "pqr": {
        "fast": Recipe(epochs=12, batch_size=8, learning_rate=1e-3, patches_per_image=16, decay_epochs=4, **_PQR,
                       source="reduced for CPUs: Adam, 12 epochs, 16 patches of each image"),
        "full": _PQR_FULL,
    },
    "pqr_efficientnet_lite0": {
        "fast": Recipe(epochs=8, batch_size=16, learning_rate=1e-3, patches_per_image=1, decay_epochs=4, **_PQR,
                       source="reduced for CPUs: the last layer alone, Adam, 8 epochs, one crop of each image"),
        "full": replace(_PQR_FULL, epochs=10, decay_epochs=9, patches_per_image=50, learning_rate=1e-3, weight_decay=1e-4,
                        trainable="all", source="authors' code for ResNet-50, with about 100 crops in a step instead of 64"),
    },
    "diqa": _DIQA_RECIPES,
    "deepbqa": _DIQA_RECIPES,
    "lpips": _LPIPS_RECIPES,
    "lpips_squeeze": _LPIPS_RECIPES,
    "lpips_vgg": _LPIPS_RECIPES,
    "swdn_uniform_heads": _SWDN_RECIPES,
    "swdn_uniform_heads_squeezenet": _SWDN_RECIPES,
}
