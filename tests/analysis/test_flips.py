from dataclasses import replace
from math import isnan, nan

import numpy as np
import pytest

from analysis.comparison import changes, compare
from analysis.errors import AnalysisError
from analysis.records import Allocation, Candidate, Evaluation, Layer, LayerTable


def measured(predictions: list[int], labels: list[int], *, labelled: bool = True) -> Evaluation:
    classes = np.array(predictions)
    correct = classes == np.array(labels)
    return Evaluation(
        n=len(classes),
        labelled=labelled,
        top1=float(correct.mean()) if labelled else nan,
        low=0.0,
        high=1.0,
        loss=0.0,
        kl=0.0,
        predictions=classes,
        correct=correct,
        versus_float=None,
        evaluation="set",
        seconds=0.0,
    )


def test_flips_are_counted_by_who_is_right_and_ordered_by_it() -> None:
    labels = [0, 1, 2, 3, 4]
    first = measured([0, 1, 9, 8, 4], labels)
    second = measured([0, 9, 2, 9, 4], labels)
    found = compare(first, second)
    assert [flip.sample for flip in found.flips] == [2, 1, 3]
    assert (found.paired.only_first, found.paired.only_second, found.both_wrong) == (1, 1, 1)
    assert found.paired.agreement == pytest.approx(2 / 5)
    assert found.paired.difference == 0.0


def test_without_labels_no_prediction_is_right() -> None:
    first = measured([0, 1], [-1, -1], labelled=False)
    second = measured([0, 2], [-1, -1], labelled=False)
    found = compare(first, second)
    assert isnan(found.paired.difference)
    assert [(f.sample, f.first_correct, f.second_correct) for f in found.flips] == [
        (1, False, False)
    ]
    assert found.both_wrong == 1


def test_measurements_on_other_samples_are_refused() -> None:
    first = measured([0], [0])
    with pytest.raises(AnalysisError, match="needs one evaluation set"):
        compare(first, replace(first, evaluation="other"))


def test_changed_layers_say_how_many_bytes_the_second_saves() -> None:
    layers = tuple(
        Layer(
            name=name,
            kind="linear",
            weight_name=f"{name}.weight",
            weight_shape=(1, weights),
            channel_axis=0,
            output_shape=(1,),
            num_weights=weights,
            num_biases=0,
            macs=weights,
            activation_group=place,
            calls=(place,),
            inputs=(place,),
        )
        for place, (name, weights) in enumerate((("a", 16), ("b", 8), ("c", 4)))
    )
    table = LayerTable(
        model="m",
        layers=layers,
        tensors=(),
        skipped=(),
        params_before_folding=28,
        params_after_folding=28,
    )
    w8, w4 = Candidate.parse("w8a8"), Candidate.parse("w4a8")
    first = Allocation(layers=table.names, candidates=(w8, w4, w4))
    second = Allocation(layers=table.names, candidates=(w4, w4, w8))
    found = changes(first, second, table)
    assert [(each.layer, each.saved_bytes) for each in found] == [("a", 8.0), ("c", -2.0)]
    assert changes(first, first, table) == ()
