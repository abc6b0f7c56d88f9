"""The YAML that a campaign may use: mappings, lists and text, each with its line and column.

The file is read from the parser's events, so nothing is ever constructed: every scalar is text as written (``16:9``,
``012``, ``no`` and ``1.0`` stay what they look like), and tags, anchors, aliases and merge keys have no effect that
could be abused. They are refused by name, because a person who writes one expects an effect.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import yaml

from adloom.campaign.problems import Place, Report, not_utf_8
from adloom.core.bidi import ALLOWED, first_control, said_of
from adloom.core.quoting import shown

if TYPE_CHECKING:
    from yaml.events import Event

Tree: TypeAlias = "str | list[Tree] | dict[str, Tree]"
Path: TypeAlias = "tuple[str | int, ...]"

LARGEST_FILE_BYTES = 1 << 20
DEEPEST = 20
MOST_CONTROLS = 100
"""Characters that change the direction of text; each is reported with its place."""
MOST_NODES = 100_000

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml where the wheel has it: twenty times as fast
_QUOTE_TEMPLATES = 'text that starts with {{ or {% needs quotes, like "{{ product }} on oak"'
_BARE_TEMPLATE = re.compile(r"(?:[:,\[]|^\s*-)\s+\{[{%]")
_BARE_MARK = re.compile(r"(?:[:,\[]|^\s*-)\s+[@`%*&!|>]")
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_UNSENDABLE = re.compile("[\x00\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Document:
    """One YAML file: its content, and where each part of it is."""

    file: str
    content: Tree
    keys: Mapping[Path, tuple[int, int]]
    values: Mapping[Path, tuple[int, int]]

    def place(self, path: Path, *, of_key: bool = False) -> Place:
        """The place of a value or of its key. Parts that the file does not have are left out."""
        known: Path = ()
        for part in path:
            if (*known, part) in self.values:
                known = (*known, part)
        found = self.keys if of_key and known in self.keys else self.values
        return Place(self.file, *found.get(known, (0, 0)))


def decoded(content: bytes, file: str, report: Report) -> str:
    """The file as text, without a byte order mark. Raises CampaignInvalid when it is not UTF-8 or holds a NUL."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        column = len(content[content.rfind(b"\n", 0, error.start) + 1 : error.start].decode("utf-8", "replace")) + 1
        begins = content.rfind(b"\n", 0, error.start) + 1
        report.fatal(
            Place(file, line, column), not_utf_8(content[begins:], error.start - begins, begins), "save it as UTF-8"
        )
    if found := _UNPRINTABLE.search(text):
        place = Place(file, text.count("\n", 0, found.start()) + 1, found.start() - text.rfind("\n", 0, found.start()))
        what = "a NUL character" if found[0] == "\0" else f"the control character {found[0]!r}"
        report.fatal(place, f"{what} is not allowed in a campaign", "plain text in UTF-8")
    return text


def read_yaml(content: bytes, file: str, report: Report) -> Document:
    """Parse one campaign file.

    Recoverable problems are added to ``report``; others raise CampaignInvalid with everything found so far.
    """
    if len(content) > LARGEST_FILE_BYTES:
        report.fatal(
            Place(file),
            f"this file has {len(content):,} bytes, {LARGEST_FILE_BYTES:,} are allowed",
            "put many rows in a CSV",
        )
    text = decoded(content, file, report)
    _report_controls(text, file, report)
    try:
        return _Builder(file, report, text).document()
    except yaml.MarkedYAMLError as error:
        lines = text.splitlines()
        mark = error.problem_mark or error.context_mark
        if error.context_mark and mark and not "".join(lines[mark.line :]).strip():
            mark = error.context_mark  # what is missing at the end of the file was opened there
        place = Place(file, mark.line + 1, mark.column + 1) if mark else Place(file)
        lines = lines[: place.line]
        nearest = next((line for line in reversed(lines) if line.strip()), "")
        quoted = f" near {shown(nearest.strip())}" if nearest.strip() else ""
        report.fatal(place, f"this is not valid YAML{quoted}: {error.problem or error.context}", _advice(nearest))
    except yaml.YAMLError as error:
        report.fatal(Place(file), f"this is not valid YAML: {shown(str(error))}")


def _report_controls(text: str, file: str, report: Report) -> None:
    """Report every character that changes the direction of text."""
    at = first_control(text)
    for _ in range(MOST_CONTROLS):
        if at < 0:
            return
        place = Place(file, text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at))
        report.add(place, said_of(text[at]), ALLOWED)
        at = first_control(text, at + 1)


def _advice(line: str) -> str:
    """What is most likely wrong with a line that is not YAML."""
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return "indent with spaces, not with tabs"
    if _BARE_TEMPLATE.search(line):
        return _QUOTE_TEMPLATES
    if _BARE_MARK.search(line):
        return "text that starts with @ ` % * & ! | or > needs quotes"
    if line.count('"') % 2 or sum(map(line.count, "[{")) > sum(map(line.count, "]}")):
        return "close every quote and every bracket"
    if line.count(": ") > 1:
        return 'put text that contains ": " in quotes, or in a block after |'
    return "check indentation, quotes, colons and brackets, here and in the lines before"


class _Builder:
    """Builds the tree from parser events. Recursion is safe: ``DEEPEST`` bounds it."""

    def __init__(self, file: str, report: Report, source: str) -> None:
        self._file = file
        self._source = source
        self._report = report
        self._events: Iterator[Event] = yaml.parse(source, Loader=_LOADER)
        self._nodes = 0
        self._usable = True
        self._aliases: set[str] = set()
        self._keys: dict[Path, tuple[int, int]] = {}
        self._values: dict[Path, tuple[int, int]] = {}

    def document(self) -> Document:
        next(self._events)  # the stream starts
        if isinstance(next(self._events), yaml.StreamEndEvent):
            self._report.fatal(
                Place(self._file, 1, 1), "the file is empty", "a campaign starts with a line such as: campaign: my-name"
            )
        content = self._node(next(self._events), (), 0)
        next(self._events)  # the document ends
        if not isinstance(another := next(self._events), yaml.StreamEndEvent):
            self._report.fatal(
                self._place(another), "a second document starts here", "one campaign per file, no further ---"
            )
        if not self._usable:
            self._report.close()
        return Document(self._file, content, self._keys, self._values)

    def _node(self, event: Event, path: Path, depth: int) -> Tree:
        self._values.setdefault(path, self._place(event)[1:])
        self._count(event, depth)
        if isinstance(event, yaml.AliasEvent):
            self._usable = False
            if str(event.anchor) in self._aliases:
                return ""
            self._aliases.add(str(event.anchor))
            self._report.add(
                self._place(event),
                f"aliases like {shown('*' + str(event.anchor), 40)} are not allowed",
                "write the value out, or put text that starts with * in quotes",
            )
            return ""
        self._refuse_tag_and_anchor(event)
        if isinstance(event, yaml.ScalarEvent):
            return self._text(event)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._list(path, depth)
        return self._mapping(path, depth)

    def _list(self, path: Path, depth: int) -> Tree:
        items: list[Tree] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            items.append(self._node(event, (*path, len(items)), depth + 1))
        return items

    def _mapping(self, path: Path, depth: int) -> Tree:
        entries: dict[str, Tree] = {}
        only_braces = False
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._key(event, (*path, "?"), depth)
            if key is None or key in entries:
                only_braces |= key is None and not entries
                if key is not None:
                    first = self._keys[(*path, key)][0]
                    self._report.add(
                        self._place(event), f"the key {shown(key)} appears twice, first in line {first}", "once"
                    )
                self._node(next(self._events), (*path, "?"), depth + 1)
                continue
            self._keys[(*path, key)] = self._place(event)[1:]
            entries[key] = self._node(next(self._events), (*path, key), depth + 1)
        return "?" if only_braces and not entries and path else entries  # {{ x }}: said, and text to what follows

    def _key(self, event: Event, path: Path, depth: int) -> str | None:
        """The text of a key, None when it cannot be one."""
        key = self._node(event, path, depth + 1)
        if not isinstance(key, str):
            self._report.add(self._place(event), "a list or a mapping cannot be a key", _QUOTE_TEMPLATES)
            return None
        if key == "<<" and isinstance(event, yaml.ScalarEvent) and not event.style:
            self._usable = False
            self._report.add(self._place(event), "merge keys (<<) are not allowed", "write the keys out")
            return None
        return key

    def _text(self, event: yaml.ScalarEvent) -> str:
        if (at := first_control(event.value)) >= 0 and not self._is_written_out(event, event.value[at]):
            self._report.add(self._place(event), said_of(event.value[at]), ALLOWED)
        if found := _UNSENDABLE.search(event.value):
            self._report.add(
                self._place(event), f"the character {found[0]!r} is not allowed in a campaign", "plain text"
            )
        return str(event.value)

    def _is_written_out(self, event: Event, character: str) -> bool:
        """Whether a character is literal in the file at the reported place, not an escape."""
        start, end = event.start_mark, event.end_mark
        return start is not None and end is not None and character in self._source[start.index : end.index]

    def _count(self, event: Event, depth: int) -> None:
        self._nodes += 1
        if self._nodes > MOST_NODES:
            self._report.fatal(
                self._place(event), f"more than {MOST_NODES:,} values in one file", "put many rows in a CSV"
            )
        if depth > DEEPEST:
            self._report.fatal(self._place(event), f"nested more than {DEEPEST} levels deep", f"at most {DEEPEST}")

    def _refuse_tag_and_anchor(self, event: Event) -> None:
        if tag := getattr(event, "tag", None):
            allowed = "plain text; in quotes if it starts with !"
            self._report.add(self._place(event), f"tags like {shown(tag, 40)} are not allowed", allowed)
        if anchor := getattr(event, "anchor", None):
            allowed = "write values out, and put text that starts with & in quotes"
            self._report.add(self._place(event), f"anchors like {shown('&' + anchor, 40)} are not allowed", allowed)

    def _place(self, event: Event) -> Place:
        mark = event.start_mark
        return Place(self._file, mark.line + 1, mark.column + 1) if mark else Place(self._file)
