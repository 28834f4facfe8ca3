"""The lessons: what stands in NN_name.md, and the exercise of the same name beside it."""

import re
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module, resources
from typing import Any, NamedTuple

from minigrok.errors import ConfigError

NAME = re.compile(r"(\d\d)_(\w+)\.md")
LAYER = re.compile(r"^<!-- layer: (?P<name>\w+) (?P<function>\w+) -->\n", re.MULTILINE)
BLOCK = re.compile(r"^```(?P<language>sh|python)\n(?P<code>.*?)^```$\n?", re.MULTILINE | re.DOTALL)


class Part(NamedTuple):
    """A piece of a lesson: markdown, or code in a language."""

    language: str  # "": markdown
    text: str


@dataclass(frozen=True)
class Lesson:
    """One lesson.

    Attributes
    ----------
    number : int
    name : str       of its files
    text : str       markdown; its first line is the title, its first paragraph the idea
    """

    number: int
    name: str
    text: str

    @property
    def title(self) -> str:
        """Return the heading, without its number."""
        return self.text.partition("\n")[0].removeprefix("# ")

    @property
    def idea(self) -> str:
        """Return the first paragraph in one line."""
        return " ".join(self.text.split("\n\n", 2)[1].split())

    @property
    def layers(self) -> list[tuple[str, str]]:
        """Return (layer, function) of what the lesson shows."""
        return [(found["name"], found["function"]) for found in LAYER.finditer(self.text)]

    @cached_property
    def exercise(self) -> Any:
        """Return the module of the exercise: START, SUFFIX, check."""
        return import_module(f"minigrok.lessons.exercises.{self.name}")

    def parts(self) -> list[Part]:
        """Return the text cut at its blocks of code that are run."""
        parts, at = [], 0
        for found in BLOCK.finditer(self.text):
            parts += [Part("", self.text[at : found.start()]), Part(found["language"], found["code"])]
            at = found.end()
        parts.append(Part("", self.text[at:]))
        return [part for part in parts if part.text.strip()]


def lessons() -> list[Lesson]:
    """Return all lessons in their order."""
    files = (resources.files("minigrok") / "lessons").iterdir()
    found = [(NAME.fullmatch(file.name), file) for file in files]
    return sorted(
        (Lesson(int(name[1]), name[2], file.read_text("utf-8")) for name, file in found if name),
        key=lambda one: one.number,
    )


def lesson(number: int) -> Lesson:
    """Return the lesson of a number; a ConfigError if there is none."""
    all_of_them = lessons()
    for one in all_of_them:
        if one.number == number:
            return one
    required = f"the number of a lesson, 1 to {len(all_of_them)}"
    raise ConfigError(required, str(number), "`minigrok learn` lists the lessons")
