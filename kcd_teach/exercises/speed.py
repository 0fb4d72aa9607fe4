"""Exercises of the appendix on speed: how many views has an image, and how many answers are known?"""

from kcd_teach.exercises.exercise import Exercise
from kcd_teach.views import num_views

count_views = Exercise(
    name="count_views",
    task=(
        "Count the views of one image: it is padded by `padding` pixels on every side, cropped back to its size "
        "anywhere inside, and flipped from left to right or not."
    ),
    minutes=3,
    hints=(
        "How many places can the upper left corner of the crop have along one side?",
        "With padding 1 the corner can be at 0, 1 or 2: three places. In general there are 2 * padding + 1.",
        "Rows and columns are chosen independently, and each crop exists flipped and unflipped.",
    ),
    reference=num_views,
    cases=((0,), (2,), (4,)),
    mistakes={
        "The flip is missing. Every crop exists twice, and the teacher sees two different images.": lambda p: (
            (2 * p + 1) ** 2
        ),
        "The image was moved along one side only. Rows and columns move independently, so their numbers "
        "multiply.": lambda p: 2 * (2 * p + 1),
        "Only moves into one direction were counted. There is padding on both sides, and the corner can be "
        "at 0, 1, .. up to twice the padding.": lambda p: 2 * (p + 1) ** 2,
        "The view that is not moved at all was forgotten: from 0 to twice the padding are one more than twice "
        "the padding.": lambda p: 2 * (2 * p) ** 2,
        "The flip was counted once per side. Images are flipped from left to right, never upside down.": lambda p: (
            4 * (2 * p + 1) ** 2
        ),
    },
    solution="""
        def count_views(padding):
            places = 2 * padding + 1
            return places * places * 2
    """,
)


def _known(views: int, epochs: int) -> float:
    return 1 - (1 - 1 / views) ** epochs


known_share = Exercise(
    name="known_share",
    task=(
        "In every epoch each image shows one of its views, drawn at random. Return the share of the teacher's answers "
        "that is expected to be known already in the epoch that follows `epochs` others."
    ),
    minutes=5,
    hints=(
        "Look at one image and the view it will show next. How likely is it that one earlier epoch showed just this?",
        "One epoch showed another view with probability 1 - 1 / views, whatever the other epochs did.",
        "All epochs showed other views with the power of that; known is the opposite.",
    ),
    reference=_known,
    cases=((50, 1), (50, 24), (2, 3)),
    mistakes={
        "The epochs were added up, as if no view ever came twice. Views are drawn anew in every epoch, so some repeat "
        "and teach the store nothing.": lambda views, epochs: min(1.0, epochs / views),
        "This is the share that is still unknown: the answers the teacher has to be asked for.": lambda views, epochs: (
            (1 - 1 / views) ** epochs
        ),
        "One epoch is missing: all of them have filled the store, the first one too.": lambda views, epochs: _known(
            views, epochs - 1
        ),
        "One epoch too many was counted: in the next epoch its own answers are not known yet.": lambda views, epochs: (
            _known(views, epochs + 1)
        ),
        "This is the chance that all epochs showed the same view as the next one. One of them is "
        "enough.": lambda views, epochs: (1 / views) ** epochs,
        "Views and epochs changed places: the epochs are the exponent.": lambda views, epochs: (
            1 - (1 - 1 / epochs) ** views
        ),
    },
    solution="""
        def known_share(views, epochs):
            missed_by_one = 1 - 1 / views
            return 1 - missed_by_one**epochs
    """,
)
