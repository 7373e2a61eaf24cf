"""The examples in the docstrings do what they print."""

import doctest
import importlib
import pkgutil

import pytest

import iqa_lab

MODULES = [module.name for module in pkgutil.walk_packages(iqa_lab.__path__, "iqa_lab.")
           if not module.name.startswith("iqa_lab.data_scripts")]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0
