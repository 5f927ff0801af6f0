"""The sections of a run's page, in their order. A new one is an entry here and a template of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from counterpoise.report.page import Page

__all__ = ["SECTIONS", "Section"]


@dataclass(frozen=True)
class Section:
    """One section of the page.

    Parameters
    ----------
    anchor : str
        Its address in the page, and the name of its template in ``templates/sections``.
    title : str
        Its heading.
    link : str
        What leads to it at the top of the page; the title if left out.
    is_shown : callable
        Whether a page has it.
    """

    anchor: str
    title: str
    link: str = ""
    is_shown: Callable[[Page], bool] = lambda _: True

    @property
    def short(self) -> str:
        """Return what leads to it."""
        return self.link or self.title

    @property
    def template(self) -> str:
        """Return the template that is filled with the :class:`Page`."""
        return f"sections/{self.anchor}.html.jinja"


SECTIONS = (
    Section("verdict", "Verdict"),
    Section("race", "Race", is_shown=lambda page: page.evidence.race is not None),
    Section("results", "Results"),
    Section("hypotheses", "Hypotheses", is_shown=lambda page: bool(page.evidence.hypotheses)),
    Section("seeds", "Seed by seed"),
    Section("classes", "Per class"),
    Section(
        "trade",
        "Per-class gains and losses",
        link="Gains and losses",
        is_shown=lambda page: page.evidence.trades is not None,
    ),
    Section("details", "More from the same counts", link="More scores", is_shown=lambda page: page.further is not None),
    Section("curves", "Training curves"),
    Section("balance", "Frequencies and weights"),
    Section("patches", "Example patches"),
    Section("provenance", "Data, configuration and provenance", link="Data and provenance"),
)
