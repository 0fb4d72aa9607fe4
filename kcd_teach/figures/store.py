"""Pictures of the knowledge store: which of the teacher's answers are known, and what it is asked all the same."""

from collections.abc import Mapping, Sequence

import numpy as np

from kcd_teach.figures.picture import Picture
from kcd_teach.figures.style import ROLES, colour, new_figure, styled


@styled
def all_views(views: np.ndarray, title: str) -> Picture:
    """Every view of one image as a sheet: a row per vertical move, a column per horizontal move and side.

    Args:
        views: uint8 [n, n, 2, H, W]: up to down, left to right, as it is and flipped; n odd.
        title: of the figure.
    """
    places, height, width = len(views), *views.shape[-2:]
    sheet = np.full((places * (height + 2), 2 * places * (width + 2)), 255, dtype=np.uint8)
    for row, column, flip in np.ndindex(places, places, 2):
        top, left = row * (height + 2), (flip * places + column) * (width + 2)
        sheet[top : top + height, left : left + width] = views[row, column, flip]
    figure, (axes,) = new_figure(8.6, 1.1 + 4.3 * sheet.shape[0] / sheet.shape[1] * 1.7)
    axes.imshow(sheet, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    moves = [f"{places // 2 - place:+d}" if place != places // 2 else "0" for place in range(places)]
    axes.set_xticks([(column + 0.5) * (width + 2) - 1 for column in range(2 * places)], [*moves, *moves])
    axes.set_yticks([(row + 0.5) * (height + 2) - 1 for row in range(places)], moves)
    axes.axvline(places * (width + 2) - 1.5, color=colour("kept"), linewidth=2)
    axes.set(title=title, xlabel="moved to the right by (pixels): as it is, and then flipped", ylabel="moved down by")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    different = len(np.unique(views.reshape(-1, height * width), axis=0))
    alt = f"A sheet of {places} rows and {2 * places} columns: one image, moved by up to {places // 2} pixels, and flipped."
    return Picture(figure, alt, f"Of {views[..., 0, 0].size} views of this image, {different} are different images.")


@styled
def known_answers(runs: Mapping[str, Sequence[float]], views: int, other: int, title: str) -> Picture:
    """Share of the teacher's answers that were known in every epoch of runs that share a store, beside what theory says.

    Args:
        runs: name -> shares 0 .. 1, epoch by epoch; each run goes on with the store of the one before.
        views: outcomes per image, for the expected share 1 - (1 - 1 / views)^e after e epochs.
        other: another number of views, drawn for comparison.
        title: of the figure.
    """
    figure, (axes,) = new_figure(7.2, 3.8)
    total = sum(map(len, runs.values()))
    before = np.arange(total)
    expected = 1 - (1 - 1 / views) ** before
    axes.plot(before + 1, 100 * expected, color=colour("teacher"), linewidth=1.4, label=f"expected, {views} views")
    axes.plot(before + 1, 100 * (1 - (1 - 1 / other) ** before), ":", color=colour("dropped"),
              label=f"expected, {other} views")  # fmt: skip
    start = 0
    for (name, shares), filled in zip(runs.items(), ("full", "none"), strict=True):
        axes.plot(before[start : start + len(shares)] + 1, 100 * np.array(shares), ROLES["kept"].marker, markersize=5,
                  fillstyle=filled, color=colour("kept"), label=name)  # fmt: skip
        start += len(shares)
        if start < total:
            axes.axvline(start + 0.5, color=colour("dropped"), linewidth=0.8)
    axes.set(title=title, xlabel="epoch that the store has seen", ylabel="answers known already (%)")
    axes.set(xlim=(0, total + 1), ylim=(0, None))
    axes.grid(alpha=0.25)
    axes.legend(loc="upper left", fontsize=9.5)
    found = np.concatenate([np.asarray(shares) for shares in runs.values()])
    texts = [f"{name} {100 * np.mean(shares):.0f} %" for name, shares in runs.items()]
    alt = f"Share of known answers rising from 0 over {total} epochs of {len(runs)} runs, along the expected curve."
    return Picture(figure, alt, f"Known on average: {', '.join(texts)}; no epoch is further than "
                   f"{100 * np.abs(found - expected).max():.1f} points from what is expected.")  # fmt: skip


@styled
def asked_in_stages(shown: Sequence[int], mixed: Sequence[int], full: int, title: str) -> Picture:
    """What the teacher is asked in every stage although its store is full: the mixtures, of the samples shown.

    Args:
        shown, mixed: samples per epoch in each stage, and how many of them are mixtures.
        full: samples shown by plain KD.
        title: of the figure.
    """
    figure, (axes,) = new_figure(7.2, 1.3 + 0.32 * len(shown))
    rows, pure = range(len(shown)), [all_ - some for all_, some in zip(shown, mixed, strict=True)]
    axes.barh(rows, pure, 0.75, color=colour("kept"), label="as they are: answer looked up")
    axes.barh(rows, mixed, 0.75, pure, color=colour("mixed"), hatch=ROLES["mixed"].hatch, edgecolor="white",
              label="mixtures: teacher asked")  # fmt: skip
    rest = [full - count for count in shown]
    axes.barh(rows, rest, 0.75, shown, color=(colour("dropped"), 0.25), label="not shown")
    axes.set_yticks(rows, [f"stage {stage}" for stage in rows])
    axes.set(title=title, xlabel="samples per epoch", xlim=(0, full), ylim=(len(shown) - 0.5, -0.5))
    axes.tick_params(axis="y", length=0)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=9.5)
    count = len(shown)
    alt = f"Bars of the samples shown in {count} stages, shorter every time; from the second on, a small part is mixtures."
    return Picture(figure, alt, f"Of {full} samples, {100 * sum(shown) / full / count:.1f} % are shown on average; for "
                   f"{100 * sum(mixed) / full / count:.1f} % the teacher is asked although everything else is known.")  # fmt: skip
