"""YAML files that are strictly validated: a file that is read is meant. Needs pydantic and PyYAML.

An unknown key (the nearest is suggested), a key given twice, a wrong type or a missing value is refused with one line
that says where.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from tapetum.errors import UsageError


class Section(BaseModel):
    """One mapping of such a file."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Kind = TypeVar("Kind", bound=Section)


def read_mapping(path: Path, what: str) -> dict[str, Any]:
    """What a file holds, not yet validated; ``what`` it is, for people: "a recipe".

    Raises:
        UsageError: it cannot be read, or is no YAML mapping.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # a safe loader
    except UnicodeDecodeError:
        raise UsageError(f"{path}: not a text file") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from None
    except yaml.YAMLError as error:
        raise UsageError(yaml_trouble(path, error)) from None
    if not isinstance(content, dict):
        raise UsageError(f"{path}: {what} is a mapping of keys to values, this is {type(content).__name__}")
    return content


def validate(path: Path, content: dict[str, Any], kind: type[Kind]) -> Kind:
    """The content of the file ``path`` as a ``kind``. Raises UsageError: one line that says where."""
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        first, count = error.errors()[0], error.error_count()
        where = ".".join(str(part) for part in first["loc"])
        what = {"extra_forbidden": "unknown key", "missing": "is missing"}.get(first["type"], first["msg"])
        plain = first["type"] in ("missing", "extra_forbidden", "value_error")
        given = "" if plain else f", got {first['input']!r:.80}"
        if first["type"] == "extra_forbidden":
            near = difflib.get_close_matches(str(first["loc"][-1]), keys_at(kind, first["loc"][:-1]), 1)
            what += f", perhaps {near[0]}" if near else ""
        more = f" (and {count - 1} more)" if count > 1 else ""
        raise UsageError(f"{path}: {where + ': ' if where else ''}{what}{given}{more}") from None


def keys_at(kind: type[Section], place: tuple[int | str, ...]) -> list[str]:
    """Keys that the section at a place of a ``kind`` may have, those of each where it may be of several kinds."""
    sections = [kind]
    for part in place:
        fields = [section.model_fields[part] for section in sections if part in section.model_fields]
        if fields:  # else a number in a list, or which of several kinds it is
            sections = [found for field in fields for found in _sections_in(field.annotation)]
    return [key for section in sections for key in section.model_fields]


def _sections_in(annotation: Any) -> list[type[Section]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    return [found for part in get_args(annotation) for found in _sections_in(part)]


def yaml_trouble(path: Path, error: yaml.YAMLError) -> str:
    """What is wrong with a file that is no YAML, and in which line."""
    mark = getattr(error, "problem_mark", None)
    line = f", line {mark.line + 1}" if mark else ""
    problem = getattr(error, "problem", None) or " ".join(str(error).split())
    return f"{path}{line}: not valid YAML ({problem})"


class _Loader(yaml.SafeLoader):
    """Refuses a key that is given twice, of which YAML would silently take the last."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                problem = f"the key {key.value!r} is given twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def apply(content: dict[str, Any], override: str) -> None:
    """Sets ``key=value`` in a file's content. Raises UsageError where there is no such place."""
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise UsageError(f"override {override!r}: write key=value, for instance run.steps=1000")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise UsageError(f"override {override!r}: the value is not valid YAML") from None
    place: Any = content
    parts = key.split(".")
    for depth, part in enumerate(parts):
        last = depth == len(parts) - 1
        if isinstance(place, list):
            if not part.isdigit() or int(part) >= len(place):
                raise UsageError(f"override {override!r}: {'.'.join(parts[:depth])} has entries 0 to {len(place) - 1}")
            if last:
                place[int(part)] = value
            else:
                place = place[int(part)]
        elif isinstance(place, dict):
            if last:
                place[part] = value
            else:
                place = place.setdefault(part, {})
        else:
            raise UsageError(f"override {override!r}: {'.'.join(parts[:depth])} is a value, not a section")
