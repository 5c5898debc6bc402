"""Evaluations that were never measured, for solvers that ask for some."""

from math import nan

import numpy as np

from analysis.records import Evaluation, Paired


def made_up_evaluation(lost: float, *, labelled: bool = True, kl: float = 0.0) -> Evaluation:
    """Return what a network would measure that loses ``lost`` (0..1) against a float one of 0.9."""
    empty = np.zeros(0)
    return Evaluation(
        n=1000,
        labelled=labelled,
        top1=0.9 - lost if labelled else nan,
        low=nan,
        high=nan,
        loss=nan,
        kl=kl,
        predictions=empty.astype(np.int64),
        correct=empty.astype(np.bool_),
        versus_float=Paired(
            difference=-lost if labelled else nan,
            low=nan,
            high=nan,
            agreement=1 - lost,
            p_value=nan,
            only_first=0,
            only_second=0,
        ),
        evaluation="made up",
        seconds=0.0,
    )
