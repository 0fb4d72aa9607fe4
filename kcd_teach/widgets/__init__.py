"""The instruments of the course, for JupyterLab."""

from kcd_teach.widgets.explorers import RatioExplorer
from kcd_teach.widgets.knowledge_map import KnowledgeMap
from kcd_teach.widgets.loop_player import LoopPlayer
from kcd_teach.widgets.run_panel import RunPanel
from kcd_teach.widgets.temperature import TemperatureBench

__all__ = ["KnowledgeMap", "LoopPlayer", "RatioExplorer", "RunPanel", "TemperatureBench"]
