"""The instruments of the course, for JupyterLab."""

from kcd_teach.widgets.explorers import RatioExplorer, StageExplorer, TemperatureExplorer
from kcd_teach.widgets.run_panel import RunPanel

__all__ = ["RatioExplorer", "RunPanel", "StageExplorer", "TemperatureExplorer"]
