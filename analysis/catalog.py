"""What is in the store, without loading any model: studies and their configurations."""

from dataclasses import replace
from typing import TypeVar

from analysis.records import Configuration, FloatOutputs, LayerTable, Record, ScoreTable, Study
from cache.keys import digest
from cache.store import Store

T = TypeVar("T", bound=Record)

STUDIES = "study"
LAYERS = "layers"
FLOAT = "float"
SCORES = "scores"


def study_key_inputs(study: Study) -> dict[str, str]:
    """Return what identifies a study's content, for keys of stored results.

    File names are not part of it. The model's source is: equal weights in another architecture, or
    under other code of a factory, are another model.
    """
    return {
        "model": study.model.digest,
        "architecture": study.model.source,
        "calibration": study.calibration.digest,
        "evaluation": study.evaluation.digest,
        "normalization": ";".join(",".join(map(repr, v)) for v in (study.mean, study.std)),
    }


def study_id(study: Study) -> str:
    """Return what identifies a study's content: 64 hexadecimal digits."""
    return digest(study_key_inputs(study))


def studies(store: Store) -> dict[str, Study]:
    """Return every study that was opened, by name; damaged ones are set aside and left out."""
    found = {}
    for name, key in store.named(STUDIES).items():
        study = store.get(key, Study)
        if study is not None:
            found[name] = study
    return found


def configurations_kind(study: Study) -> str:
    """Return the kind under which a study's configurations are named in the store."""
    return f"configuration of {study_id(study)}"


def scores_kind(study: Study) -> str:
    """Return the kind under which a study's score tables are named in the store."""
    return f"{SCORES} of {study_id(study)}"


def configurations(store: Store, study: Study) -> dict[str, Configuration]:
    """Return the study's configurations by name; damaged ones are set aside and left out."""
    found = {}
    for name, key in store.named(configurations_kind(study)).items():
        configuration = store.get(key, Configuration)
        if configuration is not None:
            found[name] = replace(configuration, name=name)
    return found


def layer_table(store: Store, study: Study) -> LayerTable | None:
    """Return the study's layer table if it is stored."""
    return _named(store, LAYERS, study, LayerTable)


def float_outputs(store: Store, study: Study) -> FloatOutputs | None:
    """Return the float network's outputs on the evaluation set if they were measured."""
    return _named(store, FLOAT, study, FloatOutputs)


def _named(store: Store, kind: str, study: Study, record: type[T]) -> T | None:
    key = store.named(kind).get(study_id(study))
    return None if key is None else store.get(key, record)


def score_tables(store: Store, study: Study) -> tuple[ScoreTable, ...]:
    """Return every stored score table of the study, by name."""
    keys = store.named(scores_kind(study)).values()
    found = (store.get(key, ScoreTable) for key in keys)
    return tuple(table for table in found if table is not None)


def solving_tables(store: Store, study: Study) -> dict[str, ScoreTable]:
    """Return the latest tables that allocations can be solved for and predicted from, by metric.

    They score candidates one layer at a time on the calibration set: what was seen of the
    evaluation set must not choose bits that are then measured on it.
    """
    return {
        table.metric: table
        for table in score_tables(store, study)
        if table.candidates and table.protocol == "isolated" and table.data == "calibration"
    }
