"""The tree at the top of ``core.errors`` is the tree of its classes."""

import itertools
import re

from adloom.core import errors

NODE = re.compile(r"^([│├└─ ]*)([A-Z]\w+)  +\S", re.MULTILINE)


def drawn() -> dict[str, str]:
    """The parent of each class, by the drawing: four characters a level."""
    path: list[str] = []
    parents = {}
    for indent, name in NODE.findall(errors.__doc__):
        depth = len(indent) // 4
        path[depth:] = [name]
        parents[name] = path[depth - 1] if depth else ""
    return parents


def defined(base: type[BaseException], parent: str = "") -> dict[str, str]:
    found = {base.__name__: parent}
    for child in base.__subclasses__():
        if child.__module__ == errors.__name__:
            found |= defined(child, base.__name__)
    return found


def test_the_tree_of_errors_is_drawn_as_it_is():
    assert drawn() == defined(errors.AdloomError)


def test_every_line_of_the_drawing_reaches_the_line_above():
    lines = [line for line in errors.__doc__.splitlines() if NODE.match(line)]
    for above, line in itertools.pairwise(lines):
        for column, character in enumerate(line.rstrip()):
            if character in "│├└":
                assert above[column] in "│├" or above[column].isalpha(), f"{above}\n{line}"
