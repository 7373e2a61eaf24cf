"""``python -m iqa_lab.cli``, as ``torchrun`` calls it."""

from iqa_lab.cli import app

if __name__ == "__main__":
    app()
