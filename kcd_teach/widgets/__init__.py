"""The instruments of the course, for JupyterLab."""

from kcd_teach.widgets.explorers import RatioExplorer, StageExplorer
from kcd_teach.widgets.run_panel import RunPanel
from kcd_teach.widgets.temperature import TemperatureBench

__all__ = ["RatioExplorer", "RunPanel", "StageExplorer", "TemperatureBench"]
