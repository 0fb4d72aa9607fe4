"""The lesson of each notebook, in the order of the course, and all exercises by their names."""

from kcd_teach.lessons import (
    Exercise,
    Judgement,
    any_distiller,
    benchmark,
    does_choosing_help,
    em_feedback,
    knowledge_amount,
    learning_value,
    plain_kd,
    speed,
    summary_condensation,
    tour,
)

LESSONS = {
    "00_tour": tour,
    "01_plain_kd": plain_kd,
    "02_knowledge_amount": knowledge_amount,
    "03_learning_value": learning_value,
    "04_em_feedback": em_feedback,
    "05_summary_condensation": summary_condensation,
    "06_does_choosing_help": does_choosing_help,
    "07_any_distiller": any_distiller,
    "08_benchmark": benchmark,
    "appendix_speed": speed,
}

EXERCISES = {
    name: thing for lesson in LESSONS.values() for name, thing in vars(lesson).items() if isinstance(thing, Exercise)
}

JUDGEMENTS = {
    name: thing for lesson in LESSONS.values() for name, thing in vars(lesson).items() if isinstance(thing, Judgement)
}
