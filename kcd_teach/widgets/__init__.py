"""The instruments of the course, for JupyterLab."""

from kcd_teach.widgets.condensation import CondensationExplorer
from kcd_teach.widgets.explorers import StageExplorer, TemperatureExplorer
from kcd_teach.widgets.run_panel import RunPanel
from kcd_teach.widgets.training import TrainingView

__all__ = ["CondensationExplorer", "RunPanel", "StageExplorer", "TemperatureExplorer", "TrainingView"]
