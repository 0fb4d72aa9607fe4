"""A table for a notebook: HTML that fits light and dark pages, and plain text that a regression test compares."""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_LINE = "1px solid rgba(128,128,128,.45)"
"""Grey that is visible on white and on black; text keeps the colour of the page."""


_SMALL = "font-size:85%;opacity:.8"
_HATCHED = ";background:repeating-linear-gradient(45deg,transparent 0 6px,rgba(128,128,128,.18) 6px 8px)"
_STICKY = ";position:sticky;left:0;z-index:1;background:var(--jp-layout-color0,var(--vscode-editor-background,Canvas))"
"""The first column stays in sight on the page's own background while the others are scrolled below it."""


@dataclass(frozen=True)
class Stack:
    """A cell of several lines, the first as it is and the others small.

    Attributes:
        lines: at least one.
        strong: those in bold, by position.
        empty: hatched, so that one sees that nothing is there.
    """

    lines: Sequence[str]
    strong: Sequence[int] = ()
    empty: bool = False

    def __str__(self) -> str:
        return "; ".join(self.lines)

    @property
    def html(self) -> str:
        """Its lines as HTML."""
        texts = [
            f"<b>{html.escape(line)}</b>" if i in self.strong else html.escape(line)
            for i, line in enumerate(self.lines)
        ]
        return "<br>".join([texts[0], *(f'<span style="{_SMALL}">{text}</span>' for text in texts[1:])])


class Table:
    """Rows of texts under a caption; a notebook shows it as the last line of a cell.

    Args:
        headers: one per column.
        rows: texts or :class:`Stack`, as many as there are headers; an empty first one continues the cell above.
        caption: what the table shows, and the small print.
        right: columns of numbers, by position, set to the right.
        wide: scroll sideways on a narrow page, break no line, and keep the first column in sight.

    Example:
        >>> Table(["method", "time"], [["KD", "1.0"], ["AT", "1.12"]], "Two methods.", right=(1,))
        Two methods.
        method  time
        KD       1.0
        AT      1.12
    """

    def __init__(
        self,
        headers: Sequence[str],
        rows: Sequence[Sequence[str | Stack]],
        caption: str,
        right: Sequence[int] = (),
        wide: bool = False,
    ) -> None:
        uneven = [row for row in rows if len(row) != len(headers)]
        if uneven:
            raise ValueError(f"every row needs {len(headers)} texts, one per header, got {list(uneven[0])}")
        self.headers, self.rows, self.caption, self.right = list(headers), [list(row) for row in rows], caption, right
        self.wide = wide

    def _cell(self, tag: str, column: int, cell: str | Stack, extra: str = "") -> str:
        align = "right" if column in self.right else "left"
        space = "nowrap" if self.wide else "normal"
        style = f"text-align:{align};padding:.25em .7em;white-space:{space};vertical-align:top{extra}"
        if self.wide and column == 0:
            style += _STICKY
        scope = ' scope="col"' if tag == "th" else ""
        if isinstance(cell, Stack):
            return f'<{tag}{scope} style="{style}{_HATCHED if cell.empty else ""}">{cell.html}</{tag}>'
        return f'<{tag}{scope} style="{style}">{html.escape(cell)}</{tag}>'

    def _row(self, row: Sequence[str | Stack]) -> str:
        line = f";border-top:{_LINE}" if row[0] else ""
        return f"<tr>{''.join(self._cell('td', i, text, line) for i, text in enumerate(row))}</tr>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        head = "".join(self._cell("th", i, text, f";border-bottom:{_LINE}") for i, text in enumerate(self.headers))
        body = f"<thead><tr>{head}</tr></thead><tbody>{''.join(self._row(row) for row in self.rows)}</tbody>"
        said, open_table = html.escape(self.caption), '<table style="border-collapse:collapse;margin:0">'
        if self.wide:
            page = f'<div style="overflow-x:auto">{open_table}{body}</table></div><p style="margin:.5em 0">{said}</p>'
        else:
            below = "caption-side:bottom;text-align:left;padding-top:.5em"
            page = f'{open_table}<caption style="{below}">{said}</caption>{body}</table>'
        return {"text/html": page, "text/plain": repr(self)}

    def __repr__(self) -> str:
        table = [self.headers, *([str(cell) for cell in row] for row in self.rows)]
        widths = [max(len(row[i]) for row in table) for i in range(len(self.headers))]
        lines = [
            "  ".join(
                text.rjust(w) if i in self.right else text.ljust(w)
                for i, (text, w) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in table
        ]
        return "\n".join([self.caption, *lines])
