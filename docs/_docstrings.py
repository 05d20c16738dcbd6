"""Docstrings are plain text with formulas, in which |r|, a * b and x_ mean more to reST."""

import re


def _escape(line: str) -> str:
    """What is outside of backquotes, as it stands."""
    pieces = re.split(r"(``.*?``|`[^`]*`)", line)
    for k in range(0, len(pieces), 2):
        pieces[k] = re.sub(r"\*|\||(?<=\w)_(?=\W|$)", r"\\\g<0>", pieces[k])
    return "".join(pieces)


def _is_equations(paragraph: list[str]) -> bool:
    """Whether each line is an equation of its own: prose would fill its lines."""
    return len(paragraph) > 1 and all(
        re.search(r"[=<>]", line)
        and len(line) < 84
        and not re.match(r"\s|\.\.|=|.*[-=+*/,(]$", line)
        for line in paragraph
    )


def _fenced(lines: list[str]) -> list[str]:
    """Blocks between ``` lines as reST has them."""
    found: list[str] = []
    inside = False
    for line in lines:
        if line.startswith("```"):
            found += [] if inside else [f".. code-block:: {line[3:] or 'text'}"]
            found += [""]
            inside = not inside
        else:
            found.append(f"    {line}" if inside else line)
    return found


def _displayed(lines: list[str]) -> list[str]:
    """Paragraphs of equations as literal blocks, so that their lines stay apart."""
    found: list[str] = []
    for paragraph in re.split(r"\n\s*\n", "\n".join(lines)):
        text = paragraph.split("\n")
        if _is_equations(text):
            text = ["::", "", *(f"    {line}" for line in text)]
        found += [*text, ""]
    return found


def as_rest(lines: list[str]) -> list[str]:
    """A docstring as reST that looks like what was written."""
    lines = _displayed(_fenced(lines))
    literal = None  # indentation of the paragraph whose `::` began a literal block
    for k, line in enumerate(lines):
        indent = len(line) - len(line.lstrip())
        if literal is not None and line.strip() and indent <= literal:
            literal = None
        if literal is None:
            lines[k] = _escape(line)
            if line.rstrip().endswith("::") or line.startswith(".. code-block"):
                literal = indent
    for k in reversed(range(1, len(lines))):
        if lines[k].startswith(("Source:", "Equations:")) and lines[k - 1].strip():
            lines.insert(k, "")
    return lines
