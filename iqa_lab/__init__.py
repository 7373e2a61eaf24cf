"""iqa-lab: the executable course and reproduction package for Image Quality Assessment.

>>> import iqa_lab
>>> image = iqa_lab.load_image("photo.jpg")  # doctest: +SKIP
>>> iqa_lab.create_metric("niqe")(image)  # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module

__version__ = "0.1.0"

_HOMES = {
    "DATABASES": "iqa_lab.database_facts",
    "METRICS": "iqa_lab.registry",
    "create_metric": "iqa_lab.registry",
    "load_database": "iqa_lab.databases",
    "load_image": "iqa_lab.images",
    "score": "iqa_lab.scoring",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str):
    # Imported on first use, so that iqa_lab.evaluation and iqa_lab.databases work without loading torch.
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'iqa_lab' has no attribute {name!r}")
