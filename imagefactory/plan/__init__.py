"""What to make, and why: definitions in, a graph of targets and verdicts out."""

from imagefactory.plan.judge import Verdict, judge, judge_one
from imagefactory.plan.resolve import Graph, Resolver, every_target, targets_of_base, targets_of_image
from imagefactory.plan.select import Selection, known_names, select
from imagefactory.plan.versions import depends_on_lock

__all__ = [
    "Graph",
    "Resolver",
    "Selection",
    "Verdict",
    "depends_on_lock",
    "every_target",
    "judge",
    "judge_one",
    "known_names",
    "select",
    "targets_of_base",
    "targets_of_image",
]
