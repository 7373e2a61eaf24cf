"""Who may import whom: the table of the architecture, read off the syntax trees."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
#: part -> (what it may import from iqa_lab, what else beside the standard library)
ALLOWED = {
    "images": (set(), {"torch", "numpy", "PIL"}),
    "ops": ({"ops"}, {"torch", "numpy", "scipy"}),
    "downloads": (set(), {"tqdm"}),
    "distortions": ({"distortions"}, {"numpy", "scipy", "PIL"}),
    "database_facts": ({"embedded"}, set()),
    "databases": ({"database_facts", "embedded"}, {"numpy", "pandas", "PIL", "tqdm", "skimage", "sklearn", "matplotlib"}),
    "evaluation": ({"evaluation"}, {"numpy", "scipy", "pandas"}),
    "subjective": ({"subjective"}, {"numpy", "scipy", "pandas"}),
    "experiment": ({"images", "subjective", "experiment"}, {"numpy", "pandas", "PIL", "flask", "waitress"}),
    "backbones": ({"images", "downloads", "embedded", "ops", "backbones"}, {"torch", "torchvision", "numpy"}),
    "plots": (set(), {"numpy", "matplotlib"}),
    "full_reference": ({"images", "ops", "backbones", "full_reference"}, {"torch"}),
    "no_reference": ({"images", "ops", "backbones", "full_reference", "no_reference", "subjective"},
                     {"torch", "numpy", "sklearn", "scipy"}),  # subjective: how ratings spread over bins
    "reproduction": ({"databases", "evaluation", "ops", "registry", "reproduction", "scoring", "training"},
                     {"numpy", "pandas", "torch"}),
    "reduced_reference": ({"images", "ops", "full_reference", "reduced_reference"}, {"torch", "numpy"}),
    "synthesis": (set(), {"torch"}),
    "scoring": ({"images", "databases"}, {"torch", "pandas", "tqdm", "PIL"}),
    "training": ({"images", "databases", "database_facts", "distortions", "embedded", "evaluation", "full_reference",
                  "no_reference", "registry", "scoring", "subjective", "training"},  # the loop itself gets models as arguments
                 {"torch", "numpy", "pandas", "PIL", "tqdm", "sklearn"}),
    "report": ({"plots", "evaluation"}, {"numpy", "pandas", "matplotlib"}),
    "systems": ({"full_reference", "reduced_reference", "no_reference", "systems"}, set()),
    "registry": ({"systems"}, {"torch"}),
}
STANDARD = __import__("sys").stdlib_module_names


def imports(file: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names} if node.module == "iqa_lab" else {node.module}
    return names


def files(part: str) -> list[Path]:
    return sorted((ROOT / "iqa_lab" / part).rglob("*.py")) or [ROOT / "iqa_lab" / f"{part}.py"]


@pytest.mark.parametrize("part", ALLOWED)
def test_a_part_imports_only_what_the_table_allows(part):
    own, foreign = ALLOWED[part]
    for file in files(part):
        for name in imports(file):
            head, _, tail = name.partition(".")
            allowed = tail.partition(".")[0] in own if head == "iqa_lab" else head in foreign | STANDARD
            assert allowed, f"{file.relative_to(ROOT)} imports {name}; the table allows iqa_lab.{own} and {foreign}"


def test_every_part_of_the_package_is_in_the_table():
    parts = {path.stem for path in (ROOT / "iqa_lab").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert parts - set(ALLOWED) == {"__init__", "embedded", "cli"}
