"""A lesson as markdown for the terminal, and as a script of `# %%` cells that VS Code and Jupyter (jupytext) open."""

import ast
import inspect
from importlib import import_module
from pathlib import Path
from types import ModuleType

from minigrok.lessons.texts import LAYER, Lesson, lessons
from minigrok.storage.files import make_folder, write_atomically

SHELL = '''import subprocess


def sh(commands):
    """Run lines of the shell; the first that fails ends them."""
    subprocess.run(["bash", "-euc", commands], check=True)
'''


def markdown(lesson: Lesson) -> str:
    """Return the lesson with its layers' docstrings and functions, as plain markdown."""

    def shown(layer: str, function: str) -> str:
        module = module_of(layer)
        return (
            f"The file `minigrok/layers/{layer}.py` begins with its formulas:\n\n```text\n{docstring(module)}\n```\n\n"
            f"and this is `{function}`:\n\n```python\n{source(module, function)}\n```\n"
        )

    text = lesson.text.replace("# ", f"# {lesson.number}. ", 1)
    return LAYER.sub(lambda found: shown(found["name"], found["function"]), text)


def script(lesson: Lesson) -> str:
    """Return the lesson as a Python file: text in markdown cells, blocks in cells of code."""
    cells = [f"# %%\n{SHELL}" if any(part.language == "sh" for part in lesson.parts()) else ""]
    for part in lesson.parts():
        if part.language == "sh":
            cells.append(f'# %%\nsh(r"""\n{part.text}""")\n')
        elif part.language == "python":
            cells.append(f"# %%\n{part.text}")
        else:
            text = LAYER.sub(lambda found: f"Open `minigrok/layers/{found['name']}.py` beside this.\n", part.text)
            lines = [f"# {line}".rstrip() for line in text.strip().splitlines()]
            cells.append("# %% [markdown]\n" + "\n".join(lines) + "\n")
    return "\n".join(cell for cell in cells if cell)


def module_of(layer: str) -> ModuleType:
    """Return a layer's module."""
    return import_module(f"minigrok.layers.{layer}")


def docstring(module: ModuleType) -> str:
    """Return a module's docstring as it is written."""
    return (ast.get_docstring(ast.parse(inspect.getsource(module)), clean=False) or "").strip()


def source(module: ModuleType, function: str) -> str:
    """Return a function's lines."""
    return inspect.getsource(getattr(module, function)).rstrip()


def write_scripts(folder: Path) -> list[Path]:
    """Write every lesson as a script into a folder, and return their paths."""
    make_folder(folder)
    written = []
    for lesson in lessons():
        path = folder / f"{lesson.number:02d}_{lesson.name}.py"
        write_atomically(path, script(lesson).encode())
        written.append(path)
    return written
