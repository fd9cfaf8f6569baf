"""What to build, and why: definitions in, verdicts out."""

from imagefactory.plan.bases import judge_base, made_base
from imagefactory.plan.judge import Verdict, cluster_digest, judge, judge_sif, tests_digest
from imagefactory.plan.select import Selection, known_names, select

__all__ = [
    "Selection",
    "Verdict",
    "cluster_digest",
    "judge",
    "judge_base",
    "judge_sif",
    "known_names",
    "made_base",
    "select",
    "tests_digest",
]
