"""Prompt templates: the part of Jinja2 that a prompt needs, and nothing that a hostile file could exploit.

Text, variables, ``{% if %}``, comparisons and the filters of ``FILTERS``. There are no loops, calls, macros, includes,
assignments or Python attributes: ``a.b`` looks only into mappings. Text without ``{{`` and ``{%`` is literal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache, wraps
from itertools import islice
from typing import Any

from jinja2 import (
    StrictUndefined,
    Template,
    TemplateError,
    TemplateSyntaxError,
    UndefinedError,
    filters,
    nodes,
    pass_context,
)
from jinja2.compiler import CodeGenerator, Frame
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import SandboxedEnvironment

from adloom.core.campaign import Variables
from adloom.core.spelling import nearest

LONGEST = 20_000
"""Characters of a template, of a value that it uses and of what it makes: ten times what the API takes."""

MOST_HANDLED = 200_000
"""Characters that filters, ``~`` and ``+`` take in while one prompt is made: what each of them makes is gone with the
prompt, but it takes time, a million times in a large campaign."""

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
_NAMES_COMPARED = 1000
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


class _Context(Context):
    """The variables of one prompt, and how much text has been handled to make it."""

    handled = 0

    def resolve_or_missing(self, key: str) -> object:
        value = super().resolve_or_missing(key)
        return _entering(key, value) if isinstance(value, str) else value

    def handle(self, value: object) -> str:
        """A value as text that a filter or ``~`` is to work with. Raises BadTemplate beyond ``MOST_HANDLED``."""
        text = value if isinstance(value, str) else _as_text(value)
        self.handled += len(text)
        if self.handled > MOST_HANDLED:
            raise BadTemplate(f"filters and ~ take in more than {MOST_HANDLED:,} characters", "fewer of them")
        return text


class _CodeGenerator(CodeGenerator):
    """Compiles ``a ~ b ~ c`` so that it is put together piece by piece."""

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:  # noqa: N802 - named after the node
        self.write("environment.joined(context, (")
        for piece in node.nodes:
            self.write("lambda: ")
            self.visit(piece, frame)
            self.write(", ")
        self.write("))")


class _Environment(SandboxedEnvironment):
    """Attributes are the keys of mappings, never Python's; no text grows beyond its bound."""

    code_generator_class = _CodeGenerator
    context_class = _Context
    intercepted_binops = frozenset("+")

    def joined(self, context: _Context, pieces: tuple[Callable[[], object], ...]) -> str:
        """What ``~`` makes."""
        return _bounded(context.handle(piece()) for piece in pieces)

    def call_binop(self, context: Context, operator: str, left: object, right: object) -> object:
        """What ``+`` makes, of texts, lists or numbers."""
        assert isinstance(context, _Context)  # noqa: S101 - as the class says above
        for value in (left, right):
            if not isinstance(value, int | float):
                context.handle(value)
        return super().call_binop(context, operator, left, right)

    def getattr(self, obj: object, attribute: str) -> object:
        if isinstance(obj, Mapping) and attribute in obj:
            return _entering(attribute, obj[attribute])
        return self.undefined(obj=obj, name=attribute)

    def getitem(self, obj: object, argument: object) -> object:
        if isinstance(obj, str) and isinstance(argument, int | slice):
            try:
                return obj[argument]
            except (IndexError, ValueError):
                return self.undefined(obj=obj, name=str(argument))
        return self.getattr(obj, str(argument))


def _entering(name: str, value: object) -> object:
    if isinstance(value, str) and len(value) > LONGEST:
        raise BadTemplate(f'the variable "{name[:40]}" has {len(value):,} characters', f"at most {LONGEST:,}")
    return value


def _as_text(value: object) -> str:
    """A value in a prompt. Raises BadTemplate for one that nobody means to see there, and for a large one."""
    if value is None or not isinstance(value, str | int | float | Mapping | list | tuple | StrictUndefined):
        raise BadTemplate("there is no value where the prompt needs text", "a variable, or text in quotes")
    if isinstance(value, Mapping | list | tuple) and _size(value, LONGEST) < 0:
        raise BadTemplate(f"a list or paired values make more than {LONGEST:,} characters", "one of the values")
    return str(value)


def _size(value: object, left: int) -> int:
    """What is left of so many characters after a value was written out; less than none when they do not suffice."""
    parts: Iterator[object] = iter(())
    if isinstance(value, Mapping):
        parts = (part for entry in value.items() for part in entry)
    elif isinstance(value, list | tuple):
        parts = iter(value)
    left -= len(value) if isinstance(value, str) else 1
    for part in parts:
        if left < 0:
            return left
        left = _size(part, left)
    return left


def _of_text(function: Callable[..., object]) -> Callable[..., object]:
    """A filter of Jinja2 that is given text, and no more of it than is allowed."""

    @pass_context
    @wraps(function)
    def bounded(context: _Context, text: object, *arguments: object, **named: object) -> object:
        return function(context.handle(text), *arguments, **named)

    return bounded


def _replace(text: str, old: object, new: object) -> str:
    """Jinja2's ``replace`` with a bound: chained replacements would grow without one."""
    old, new = str(old), str(new)
    if len(text) + text.count(old) * len(new) > LONGEST:
        raise BadTemplate(f"a replacement makes more than {LONGEST:,} characters", "a shorter text")
    return text.replace(old, new)


def _truncate(text: str, *arguments: Any, **named: Any) -> str:  # noqa: ANN401 - a template's own, of any type
    return filters.do_truncate(_ENVIRONMENT, text, *arguments, **named)


_OF_TEXT: Mapping[str, Callable[..., object]] = {
    "capitalize": filters.do_capitalize,
    "lower": filters.do_lower,
    "replace": _replace,
    "title": filters.do_title,
    "trim": filters.do_trim,
    "truncate": _truncate,
    "upper": filters.do_upper,
}


def _environment() -> _Environment:
    environment = _Environment(
        undefined=_Missing, autoescape=False, keep_trailing_newline=True, cache_size=0, finalize=_as_text
    )
    environment.globals.clear()
    ours = {name: _of_text(function) for name, function in _OF_TEXT.items()}
    environment.filters = {name: ours.get(name) or filters.FILTERS[name] for name in FILTERS}
    environment.tests = {name: environment.tests[name] for name in _TESTS}
    return environment


_ENVIRONMENT = _environment()
_PLAIN = (nodes.TemplateData, nodes.Name)


class PromptTemplate:
    """A compiled template, or literal text."""

    __slots__ = ("_pieces", "_template", "_text")

    def __init__(self, text: str) -> None:
        self._text = text
        self._template: Template | None = None
        self._pieces: tuple[tuple[str, str], ...] = ()
        if is_template(text):
            self._template, self._pieces = _compiled(text)

    def render(self, variables: Variables) -> str:
        """The prompt for these variables. Raises BadTemplate."""
        if self._template is None:
            return self._text
        if (filled := self._filled(variables)) is not None:
            return filled
        try:
            return _bounded(self._template.generate(variables))
        except _Absent as missing:
            raise _not_there(missing, variables) from missing
        except (TemplateError, TypeError, ValueError, OverflowError) as error:
            if isinstance(error, BadTemplate):
                raise
            raise BadTemplate(f"the template cannot be filled in: {str(error)[:80]}") from error

    def _filled(self, variables: Variables) -> str | None:
        """The prompt of a template that only names texts, at a fraction of Jinja2's time; None for Jinja2 to decide."""
        if not self._pieces:
            return None
        parts: list[str] = []
        for literal, name in self._pieces:
            parts.append(literal)
            if name:
                if type(value := variables.get(name)) is not str:
                    return None
                parts.append(value)
        text = "".join(parts)
        return text if len(text) <= LONGEST else None


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
                f'"{parser.stream.current.value:.40}" is not allowed there', "== compares; and, or, not join"
            )
        names = [node.name for node in _checked(tree) if isinstance(node, nodes.Name)]
        expression = _ENVIRONMENT.compile_expression(text, undefined_to_none=False)
    except TemplateSyntaxError as error:
        raise BadTemplate(f"it cannot be read: {str(error.message)[:80]}") from error
    except (RecursionError, MemoryError, SyntaxError) as error:
        raise BadTemplate("it is nested too deeply", "a simpler expression") from error
    return Condition(expression, tuple(dict.fromkeys(names)))


@lru_cache(maxsize=1024)
def names_in(text: str) -> frozenset[str]:
    """The variables that a template uses; none for literal text, and for what is not a template that can be used."""
    if not is_template(text) or len(text) > LONGEST:
        return frozenset()
    try:
        tree = _ENVIRONMENT.parse(text)
    except (TemplateSyntaxError, RecursionError, MemoryError):
        return frozenset()
    return frozenset(node.name for node in tree.find_all(nodes.Name))


def is_template(text: str) -> bool:
    """Whether text is more than literal."""
    return "{{" in text or "{%" in text


def _compiled(text: str) -> tuple[Template, tuple[tuple[str, str], ...]]:
    """The template, and its pieces where it only names variables: literal text and the name after it, if any."""
    if len(text) > LONGEST:
        raise BadTemplate(f"the template has {len(text):,} characters", f"at most {LONGEST:,}")
    try:
        tree = _ENVIRONMENT.parse(text)
        for _ in _checked(tree):
            pass
        pieces = tuple(_plain_pieces(tree))
        return _ENVIRONMENT.from_string(tree), pieces
    except TemplateSyntaxError as error:
        message = str(error.message).partition(". ")[0][:80]
        raise BadTemplate(f"the template cannot be read: {message}", _pairs_lacking(text)) from error
    except (RecursionError, MemoryError, SyntaxError) as error:
        raise BadTemplate("the template is nested too deeply", "a simpler expression") from error


def _plain_pieces(tree: nodes.Template) -> Iterator[tuple[str, str]]:
    """The pieces of a template that only names variables, nothing for another one."""
    output = tree.body[0] if len(tree.body) == 1 else None
    if not isinstance(output, nodes.Output) or not all(type(each) in _PLAIN for each in output.nodes):
        return
    for each in output.nodes:
        yield (each.data, "") if isinstance(each, nodes.TemplateData) else ("", str(getattr(each, "name", "")))


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
    if isinstance(node, nodes.Name) and node.name == "self":  # Jinja2's own word for the template
        raise BadTemplate('"self" cannot be used in a template', "another name for the variable")
    if isinstance(node, nodes.Call):
        raise BadTemplate("calls like name() are not available", "filters, for example {{ name|upper }}")
    if not isinstance(node, _NODES):
        what = type(node).__name__.lower()
        what = _WRITTEN.get(what, what)
        raise BadTemplate(f'"{what}" is not available in templates', "variables, {% if %}, comparisons and filters")


def _pairs_lacking(text: str) -> str:
    """What would be right in a text that is not a template, as far as its marks show it."""
    for begin, end in (("{{", "}}"), ("{%", "%}")):
        if text.count(begin) != text.count(end):
            return f"every {begin} has its {end}"
    if text.count("{% if") != text.count("{% endif"):
        return "every {% if … %} has its {% endif %}"
    return "like {{ product }}, or {% if locale == 'de' %}…{% endif %}"


def _near(word: str, choices: Sequence[str]) -> str:
    near = nearest(word, choices)
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
    inside = missing.inside if isinstance(missing.inside, Mapping) else variables
    return BadTemplate(*_unknown(missing.name, tuple(islice(inside, _NAMES_COMPARED))))


@lru_cache(maxsize=64)
def _unknown(name: str, known: tuple[str, ...]) -> tuple[str, str]:
    """What is said of a name that is not there, the same for all rows of a job; and the names that are."""
    names = ", ".join(each[:40] for each in known[:_NAMES_SHOWN]) + (", …" if len(known) > _NAMES_SHOWN else "")
    hint = _near(name, [each[:40] for each in known])
    return f'there is no variable "{name[:40]}"{hint}', f"known here: {names or 'none'}"
