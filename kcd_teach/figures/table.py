"""A table for a notebook: HTML that fits light and dark pages, and plain text that a regression test compares."""

import html
from collections.abc import Sequence
from typing import Any

_LINE = "1px solid rgba(128,128,128,.45)"
"""Grey that is visible on white and on black; text keeps the colour of the page."""


class Table:
    """Rows of texts under a caption; a notebook shows it as the last line of a cell.

    Args:
        headers: one per column.
        rows: texts, as many as there are headers; an empty first one continues the cell above.
        caption: what the table shows, and the small print.
        right: columns of numbers, by position, set to the right.

    Example:
        >>> Table(["method", "time"], [["KD", "1.0"], ["AT", "1.12"]], "Two methods.", right=(1,))
        Two methods.
        method  time
        KD       1.0
        AT      1.12
    """

    def __init__(
        self, headers: Sequence[str], rows: Sequence[Sequence[str]], caption: str, right: Sequence[int] = ()
    ) -> None:
        uneven = [row for row in rows if len(row) != len(headers)]
        if uneven:
            raise ValueError(f"every row needs {len(headers)} texts, one per header, got {list(uneven[0])}")
        self.headers, self.rows, self.caption, self.right = list(headers), [list(row) for row in rows], caption, right

    def _cell(self, tag: str, column: int, text: str, extra: str = "") -> str:
        align = "right" if column in self.right else "left"
        style = f"text-align:{align};padding:.25em .7em;white-space:normal;vertical-align:top{extra}"
        scope = ' scope="col"' if tag == "th" else ""
        return f'<{tag}{scope} style="{style}">{html.escape(text)}</{tag}>'

    def _row(self, row: Sequence[str]) -> str:
        line = f";border-top:{_LINE}" if row[0] else ""
        return f"<tr>{''.join(self._cell('td', i, text, line) for i, text in enumerate(row))}</tr>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        head = "".join(self._cell("th", i, text, f";border-bottom:{_LINE}") for i, text in enumerate(self.headers))
        page = (
            f'<table style="border-collapse:collapse;margin:0"><caption style="caption-side:bottom;text-align:left;'
            f'padding-top:.5em">{html.escape(self.caption)}</caption><thead><tr>{head}</tr></thead>'
            f"<tbody>{''.join(self._row(row) for row in self.rows)}</tbody></table>"
        )
        return {"text/html": page, "text/plain": repr(self)}

    def __repr__(self) -> str:
        table = [self.headers, *self.rows]
        widths = [max(len(row[i]) for row in table) for i in range(len(self.headers))]
        lines = [
            "  ".join(text.rjust(w) if i in self.right else text.ljust(w)
                      for i, (text, w) in enumerate(zip(row, widths, strict=True))).rstrip()
            for row in table
        ]  # fmt: skip
        return "\n".join([self.caption, *lines])
