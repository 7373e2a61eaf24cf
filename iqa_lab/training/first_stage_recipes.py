"""FIRST_STAGES: how networks learn without opinions, as plain data with its source."""

from __future__ import annotations

from iqa_lab.training.network_recipes import Recipe

_TYPES = dict(samples="crops", loss="type_loss", mirrored=True)
_ERRORS = dict(samples="crops", loss="error_loss", mirrored=True)
_DIQA_FIRST = {
    "fast": Recipe(epochs=12, batch_size=4, learning_rate=1e-3, patches_per_image=2, decay_epochs=4, optimiser="nadam",
                   options={"width": 0.33}, **_ERRORS,
                   source="reduced for CPUs: 12 epochs, 2 crops, a third of the channels, a larger rate that falls"),
    "full": Recipe(epochs=100, batch_size=4, learning_rate=2e-4, patches_per_image=3, optimiser="nadam", **_ERRORS,
                   source="Nadam 2e-4 as a public notebook quotes the paper; 100 epochs are ours"),
}
_DIPIQ = dict(batch_size=512, patches_per_image=None, samples="discriminable", loss="rank_loss", optimiser="sgd")
_DIPIQ_RECIPES = {
    "fast": Recipe(epochs=20, learning_rate=1e-2, decay_epochs=10, comparisons_per_epoch=20_000, **_DIPIQ,
                   source="as full, with 20,000 pairs in each epoch"),
    "full": Recipe(epochs=100, learning_rate=1e-2, decay_epochs=50, **_DIPIQ,
                   source="512 pairs in a step and momentum as commonly quoted; rate and epochs are ours"),
}
#: Of models with a stage that learns without opinions: model -> mode -> recipe of that stage.
FIRST_STAGES: dict[str, dict[str, Recipe]] = {
    "meon": {
        "fast": Recipe(epochs=10, batch_size=20, learning_rate=1e-3, patches_per_image=1, decay_epochs=5, **_TYPES,
                       source="reduced for CPUs: 10 epochs, 20 crops in a step, a larger rate that falls"),
        "full": Recipe(epochs=100, batch_size=40, learning_rate=1e-3, patches_per_image=1, decay_epochs=50, **_TYPES,
                       source="Adam and 40 crops in a step as commonly quoted; epochs and fall are ours"),
    },
    "scnn": {
        "fast": Recipe(epochs=8, batch_size=16, learning_rate=1e-3, patches_per_image=1, decay_epochs=4, crop_side=128,
                       **_TYPES, source="reduced for CPUs: 8 epochs on crops of 128, Adam"),
        "full": Recipe(epochs=30, batch_size=128, learning_rate=1e-2, patches_per_image=1, optimiser="sgd", tenth_every=10,
                       weight_decay=5e-4, **_TYPES,
                       source="SCNN.py of the authors: SGD, 128 crops in a step; the rate falls from 1e-2 by tenths, there "
                              "evenly in its logarithm to 1e-5"),
    },
    "biecon": {
        "fast": Recipe(epochs=10, batch_size=2, learning_rate=5e-4, patches_per_image=1, decay_epochs=5, crop_side=288,
                       weight_decay=2e-4, options={"width": 0.25}, **_ERRORS,
                       source="reduced for CPUs: 10 epochs, crops of 288 pixels, a quarter of the channels, a larger rate"),
        "full": Recipe(epochs=40, batch_size=5, learning_rate=1e-4, patches_per_image=1, crop_side=288, weight_decay=2e-4,
                       **_ERRORS, source="first stage of the authors' release: 512 patches in a step, here those of 5 crops; "
                                         "theirs takes whole images and decays no bias"),
    },
    "diqa": _DIQA_FIRST,
    "deepbqa": _DIQA_FIRST,
    "dipiq": _DIPIQ_RECIPES,
    "dipiq_brisque": _DIPIQ_RECIPES,
}
