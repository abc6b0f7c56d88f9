"""Prompt templates: the part of Jinja2 that a prompt needs, and nothing that a hostile file could use.

Text, variables, ``{% if %}``, comparisons and the filters of ``FILTERS``. There are no loops, calls, macros, includes,
assignments or Python attributes: ``a.b`` looks only into mappings. Text without ``{{`` and ``{%`` is literal.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache

from jinja2 import StrictUndefined, Template, TemplateError, TemplateSyntaxError, UndefinedError, filters, nodes
from jinja2.parser import Parser
from jinja2.sandbox import SandboxedEnvironment

from adloom.core.campaign import Variables

LONGEST = 20_000
"""Characters of a template and of what it makes: ten times what the API takes."""

FILTERS = (
    "capitalize",
    "default",
    "first",
    "int",
    "last",
    "length",
    "lower",
    "replace",
    "title",
    "trim",
    "truncate",
    "upper",
)
_TESTS = ("defined", "undefined", "eq", "equalto", "ne", "in", "mapping", "string")
_NODES = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Const, nodes.Getattr, nodes.Getitem,
    nodes.Slice, nodes.Filter, nodes.Test, nodes.If, nodes.CondExpr, nodes.Compare, nodes.Operand, nodes.And, nodes.Or,
    nodes.Not, nodes.Concat, nodes.Add, nodes.Sub, nodes.Neg, nodes.Keyword, nodes.List, nodes.Tuple,
)  # fmt: skip
_NAMES_SHOWN = 12
_WRITTEN = {"assign": "set", "mul": "*", "pow": "**", "div": "/", "floordiv": "//", "mod": "%", "pos": "+"}
"""Nodes whose name is not what a person wrote."""


class BadTemplate(ValueError):
    """A template that cannot be used, or not with these variables. ``allowed`` says what would be right."""

    def __init__(self, message: str, allowed: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.allowed = allowed


class _Absent(UndefinedError):
    """A variable that is not there: its name, and the value it was looked for in (None at the top)."""

    def __init__(self, name: str, inside: object) -> None:
        super().__init__(name)
        self.name = name
        self.inside = inside


class _Missing(StrictUndefined):
    """Fails on every use, and remembers what was looked for."""

    __slots__ = ()

    def __init__(self, hint: str | None = None, obj: object = None, name: str | None = None, *_: object) -> None:
        inside = obj if isinstance(obj, str | Mapping) else None
        super().__init__(hint, obj, name, lambda _: _Absent(str(name), inside))  # type: ignore[arg-type]


class _Environment(SandboxedEnvironment):
    """Attributes are the keys of mappings, never Python's."""

    def getattr(self, obj: object, attribute: str) -> object:
        if isinstance(obj, Mapping) and attribute in obj:
            return obj[attribute]
        return self.undefined(obj=obj, name=attribute)

    def getitem(self, obj: object, argument: object) -> object:
        if isinstance(obj, str) and isinstance(argument, int | slice):
            try:
                return obj[argument]
            except (IndexError, ValueError):
                return self.undefined(obj=obj, name=str(argument))
        return self.getattr(obj, str(argument))


def _replace(text: object, old: object, new: object) -> str:
    """Jinja2's ``replace`` with a bound: chained replacements would grow without one."""
    text, old, new = str(text), str(old), str(new)
    if len(text) + text.count(old) * len(new) > LONGEST:
        raise BadTemplate(f"a replacement makes more than {LONGEST:,} characters", "a shorter text")
    return text.replace(old, new)


def _environment() -> _Environment:
    environment = _Environment(undefined=_Missing, autoescape=False, keep_trailing_newline=True, cache_size=0)
    environment.globals.clear()
    environment.filters = {name: filters.FILTERS[name] for name in FILTERS} | {"replace": _replace}
    environment.tests = {name: environment.tests[name] for name in _TESTS}
    return environment


_ENVIRONMENT = _environment()


class PromptTemplate:
    """A compiled template, or literal text."""

    __slots__ = ("_template", "_text")

    def __init__(self, text: str) -> None:
        self._text = text
        self._template: Template | None = None
        if is_template(text):
            self._template = _compiled(text)

    def render(self, variables: Variables) -> str:
        """The prompt for these variables. Raises BadTemplate."""
        if self._template is None:
            return self._text
        try:
            return _bounded(self._template.generate(variables))
        except _Absent as missing:
            raise _not_there(missing, variables) from missing
        except (TemplateError, TypeError, ValueError, OverflowError) as error:
            if isinstance(error, BadTemplate):
                raise
            raise BadTemplate(f"the template cannot be filled in: {str(error)[:80]}") from error


@lru_cache(maxsize=1024)
def prompt_template(text: str) -> PromptTemplate:
    """The compiled template of a text, remembered. Raises BadTemplate."""
    return PromptTemplate(text)


class Condition:
    """A compiled expression that is true or false of a row. ``names`` are those that it uses."""

    __slots__ = ("_expression", "names")

    def __init__(self, expression: Callable[..., object], names: tuple[str, ...]) -> None:
        self._expression = expression
        self.names = names

    def holds(self, values: Mapping[str, object]) -> bool:
        """Whether it is true; it is not where a name is missing. Raises BadTemplate when it cannot be worked out."""
        if any(name not in values for name in self.names):
            return False
        try:
            return bool(self._expression(values))
        except UndefinedError:
            return False
        except (TemplateError, TypeError, ValueError, OverflowError) as error:
            if isinstance(error, BadTemplate):
                raise
            raise BadTemplate(str(error)[:80]) from error


@lru_cache(maxsize=16)
def condition(text: str) -> Condition:
    """The compiled condition of a text like ``locale == "zh-CN"``. Raises BadTemplate."""
    if len(text) > LONGEST:
        raise BadTemplate(f"the condition has {len(text):,} characters", f"at most {LONGEST:,}")
    try:
        parser = Parser(_ENVIRONMENT, text, state="variable")
        tree = parser.parse_expression()
        if not parser.stream.eos:
            raise BadTemplate(
                f'"{parser.stream.current.value:.40}" cannot stand there', "== compares; and, or, not join"
            )
        names = [node.name for node in _checked(tree) if isinstance(node, nodes.Name)]
        expression = _ENVIRONMENT.compile_expression(text, undefined_to_none=False)
    except TemplateSyntaxError as error:
        raise BadTemplate(f"it cannot be read: {str(error.message)[:80]}") from error
    except (RecursionError, MemoryError, SyntaxError) as error:
        raise BadTemplate("it is nested too deeply", "a simpler expression") from error
    return Condition(expression, tuple(dict.fromkeys(names)))


def is_template(text: str) -> bool:
    """Whether text is more than literal."""
    return "{{" in text or "{%" in text


def _compiled(text: str) -> Template:
    if len(text) > LONGEST:
        raise BadTemplate(f"the template has {len(text):,} characters", f"at most {LONGEST:,}")
    try:
        tree = _ENVIRONMENT.parse(text)
        for _ in _checked(tree):
            pass
        return _ENVIRONMENT.from_string(tree)
    except TemplateSyntaxError as error:
        message = str(error.message).partition(". ")[0][:80]
        raise BadTemplate(f"the template cannot be read: {message}", _pairs_lacking(text)) from error
    except (RecursionError, MemoryError, SyntaxError) as error:
        raise BadTemplate("the template is nested too deeply", "a simpler expression") from error


def _checked(tree: nodes.Node) -> Iterator[nodes.Node]:
    """Every node of a tree. Raises BadTemplate for one that is not allowed."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        _check(node)
        yield node
        waiting.extend(node.iter_child_nodes())


def _check(node: nodes.Node) -> None:
    if isinstance(node, nodes.Filter) and node.name not in FILTERS:
        message = f'there is no filter "{node.name[:40]}"{_near(node.name, FILTERS)}'
        raise BadTemplate(message, "filters: " + ", ".join(FILTERS))
    if isinstance(node, nodes.Test) and node.name not in _TESTS:
        message = f'there is no test "{node.name[:40]}"{_near(node.name, _TESTS)}'
        raise BadTemplate(message, "tests: " + ", ".join(_TESTS))
    if isinstance(node, nodes.Call):
        raise BadTemplate("calls like name() are not available", "filters, for example {{ name|upper }}")
    if not isinstance(node, _NODES):
        what = type(node).__name__.lower()
        what = _WRITTEN.get(what, what)
        raise BadTemplate(f'"{what}" is not available in templates', "variables, {% if %}, comparisons and filters")


def _pairs_lacking(text: str) -> str:
    """What would be right in a text that is no template, as far as its marks show it."""
    for begin, end in (("{{", "}}"), ("{%", "%}")):
        if text.count(begin) != text.count(end):
            return f"every {begin} has its {end}"
    if text.count("{% if") != text.count("{% endif"):
        return "every {% if … %} has its {% endif %}"
    return "like {{ product }}, or {% if locale == 'de' %}…{% endif %}"


def _near(word: str, choices: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, choices, 1, 0.6)
    return f', did you mean "{near[0]}"?' if near else ""


def _bounded(pieces: Iterator[str]) -> str:
    made, length = [], 0
    for piece in pieces:
        length += len(piece)
        if length > LONGEST:
            raise BadTemplate(f"the template makes more than {LONGEST:,} characters", "a shorter text")
        made.append(piece)
    return "".join(made)


def _not_there(missing: _Absent, variables: Variables) -> BadTemplate:
    if isinstance(missing.inside, str):
        return BadTemplate(f'there is no "{missing.name[:40]}" inside a text', "only paired values have parts")
    known = list(missing.inside if isinstance(missing.inside, Mapping) else variables)
    names = ", ".join(name[:40] for name in known[:_NAMES_SHOWN]) + (", …" if len(known) > _NAMES_SHOWN else "")
    hint = _near(missing.name, [name[:40] for name in known])
    return BadTemplate(f'there is no variable "{missing.name[:40]}"{hint}', f"known here: {names or 'none'}")
