"""The instruments of the course, for JupyterLab and for pages without a kernel."""

from kcd_teach.widgets.condensation import CondensationExplorer
from kcd_teach.widgets.knowledge_map import KnowledgeMap
from kcd_teach.widgets.loop_player import LoopPlayer
from kcd_teach.widgets.run_panel import RunPanel
from kcd_teach.widgets.temperature import TemperatureBench
from kcd_teach.widgets.training import TrainingView

__all__ = ["CondensationExplorer", "KnowledgeMap", "LoopPlayer", "RunPanel", "TemperatureBench", "TrainingView"]
