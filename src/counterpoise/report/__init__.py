"""From a run folder to one page that can be sent to a colleague; needs neither torch nor the network."""

from counterpoise.report.render import write_comparison, write_report

__all__ = ["write_comparison", "write_report"]
