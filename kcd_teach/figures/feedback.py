"""Pictures of the feedback loop: the bound of the E-step, and dropped samples below a moving cut."""

from collections.abc import Mapping

import numpy as np

from kcd_teach.condensation import DROPPED
from kcd_teach.figures.picture import Picture
from kcd_teach.figures.style import ROLES, colour, new_figure, styled


@styled
def lower_bound(belief: np.ndarray, bound: np.ndarray, log_likelihood: float, posterior: float, title: str) -> Picture:
    """Jensen's bound (nats, [n]) as a function of Q(y = 1) ([n], 0 .. 1), below the log-likelihood it touches once."""
    figure, (axes,) = new_figure(7.2, 3.6)
    axes.axhline(log_likelihood, color=colour("teacher"), linewidth=1.5)
    axes.annotate("log-likelihood", (0.01, log_likelihood), xytext=(0, 4), textcoords="offset points", fontsize=9.5)
    axes.fill_between(belief, bound, log_likelihood, color=colour("dropped"), alpha=0.2)
    axes.plot(belief, bound, color=colour("kept"))
    low = int(np.abs(belief - 0.15).argmin())
    axes.annotate("lower bound", (belief[low], bound[low]), xytext=(8, -8), textcoords="offset points",
                  color=colour("kept"), va="top", fontsize=9.5)  # fmt: skip
    axes.annotate(
        "gap: KL(Q || posterior)", (0.17, 0.45 * bound[low] + 0.55 * log_likelihood), ha="center", fontsize=9.5
    )
    axes.plot(posterior, log_likelihood, "o", color=colour("student"), markersize=10, zorder=5)
    axes.annotate("Q = posterior", (posterior, log_likelihood), xytext=(0, 9), textcoords="offset points", ha="center",
                  color=colour("student"), fontsize=9.5)  # fmt: skip
    axes.set(title=title, xlabel="Q(y = 1): belief that the sample is worth something", ylabel="nats", xlim=(0, 1))
    axes.set_ylim(bound.min() - 0.05, log_likelihood + 0.16 * (log_likelihood - bound.min()))
    best = int(bound.argmax())
    alt = "A hill-shaped lower bound under a horizontal line; it touches the line at one point only, the posterior."
    return Picture(
        figure, alt, f"The bound touches the log-likelihood, {log_likelihood:.2f} nats, at Q(y = 1) = {belief[best]:.2f}; "
        f"at Q(y = 1) = {belief[low]:.2f} it lies {log_likelihood - bound[low]:.2f} nats below."
    )  # fmt: skip


@styled
def moving_cut(runs: Mapping[str, tuple[np.ndarray, np.ndarray]], title: str, followed: int = 9) -> Picture:
    """The score of the last kept sample, event by event, and samples dropped at the first event.

    Args:
        runs: name -> (scores at the S - 1 events, float64 [S - 1, N], nats; roles in the S stages, int8 [S, N]).
        title: of the figure.
        followed: samples whose scores are drawn, evenly spread over those dropped at the first event.
    """
    figure, panels = new_figure(8.4, 3.7, 1, len(runs))
    figure.suptitle(title, fontsize=12, fontweight="bold", x=0.01, ha="left")
    texts: list[str] = []
    for (name, (scores, role_by_stage)), axes in zip(runs.items(), panels, strict=True):
        out = role_by_stage[1:] == DROPPED
        events = np.arange(1, len(scores) + 1)
        cut = np.where(out, np.inf, scores).min(axis=1)
        first = np.flatnonzero(out[0])[np.argsort(scores[0, out[0]])]
        for sample in first[np.linspace(0, len(first) - 1, followed).astype(int)]:
            axes.plot(events, scores[:, sample], color=colour("dropped"), linewidth=0.8)
            for role, here in (("dropped", out[:, sample]), ("kept", ~out[:, sample])):
                axes.plot(events[here], scores[here, sample], ROLES[role].marker, color=colour(role), markersize=6)
        axes.plot(events, cut, color=colour("teacher"), linewidth=2.5, label="cut: score of the last one kept")
        for role, label in (("dropped", "dropped at event 1"), ("kept", "kept again")):
            axes.plot([], [], ROLES[role].marker, color=colour(role), label=label)
        axes.set(title=name, xlabel="event", ylabel="score (nats)", xticks=events, ylim=(0, None))
        back = (out[:-1] & ~out[1:]).any()
        moves = "falls" if cut[-1] < cut[0] else "rises"
        texts.append(
            f"{name}: the cut {moves}, and {'dropped samples come' if back else 'no dropped sample comes'} back"
        )
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    alt = (
        f"Scores of dropped samples as level lines and the cut as a thick line, event by event, for {', '.join(runs)}."
    )
    return Picture(figure, alt, "; ".join(texts) + ".")
