"""What to build, and why: definitions in, verdicts out."""

from imagefactory.plan.bases import judge_base, made_base
from imagefactory.plan.judge import Verdict, judge, tests_digest
from imagefactory.plan.select import Selection, known_names, select

__all__ = [
    "Selection",
    "Verdict",
    "judge",
    "judge_base",
    "known_names",
    "made_base",
    "select",
    "tests_digest",
]
