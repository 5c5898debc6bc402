"""The study page, and what it is made of: uploads, the operator's offers, specs from the form."""

import io
import os
import pickle
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from streamlit.testing.v1 import AppTest

from analysis.errors import AnalysisError, DataError, OptionError, StudyError, UnknownNameError
from analysis.events import result
from analysis.models import demo
from analysis.records import Study, StudySpec
from pages.ui import asked, offered, opening, resources, session, study_view, uploads

MAIN = Path(__file__).parents[2] / "pages" / "main.py"
DEMO = {
    "source": "demo",
    "architecture": "digits-vit",
    "weights": asked.SHIPPED,
    "weights_file": "",
    "calibration": asked.DIGITS,
    "evaluation": asked.DIGITS,
    "normalize": "0.3;0.32",
    "input_size": 0,
    "samples": 0,
    "evaluation_samples": 0,
    "seed": 0,
    "name": "A study",
}


def ask(**changes: object) -> StudySpec:
    return asked.build(asked.Asked(**(DEMO | changes)))


def page(study: str = "") -> AppTest:
    at = AppTest.from_file(MAIN, default_timeout=60)
    at.run()
    if study:
        at.selectbox(key=session.Key.STUDY).set_value(study).run()
    return at.switch_page("data.py").run()


def npz(**arrays: object) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def checkpoint(content: object) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


def said(at: AppTest) -> str:
    return "\n".join(e.value for kind in ("markdown", "info", "error") for e in at.get(kind))


# --- the page ------------------------------------------------------------------------------------


def test_without_a_study_the_form_is_open_and_the_demo_is_ready(cache_dir: Path) -> None:
    at = page()
    assert not at.exception
    assert "No study is open yet" in said(at)
    assert at.button[0].label == "Open this study"
    assert not at.button[0].disabled


def test_the_page_shows_model_sets_and_layers_of_the_study(demo_study: Study) -> None:
    at = page(demo_study.spec.name)
    assert not at.exception
    cards = {metric.label: metric.value for metric in at.metric}
    assert cards["Parameters"] == f"{demo_study.model.num_params:,}"
    assert cards["Input"] == "1 × 16 × 16"
    assert list(at.dataframe[0].value["Kind"]).count("linear") == 1
    assert "n = 200" in said(at)
    assert "20 samples each" in said(at)


def test_an_unknown_architecture_gets_suggestions_in_the_page(cache_dir: Path) -> None:
    at = AppTest.from_file(MAIN, default_timeout=60).run()
    at.session_state["study-architecture-demo"] = "digits-resnt"
    at.switch_page("data.py").run()
    assert not at.exception
    assert any("did you mean `digits-resnet`" in text.value for text in at.markdown)
    (button,) = (b for b in at.button if b.label == "Open this study")
    assert button.disabled


def test_a_failed_opening_shows_its_sentence(
    cache_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "offers" / "empty").mkdir(parents=True)
    (tmp_path / "offers" / "grey.npz").write_bytes(
        npz(x=np.zeros((4, 3, 8, 8), np.uint8), y=np.zeros(4, np.int64))
    )
    monkeypatch.setenv("BITLENS_DATA", str(tmp_path / "offers"))
    at = page()
    (choice,) = offered.data_sets()
    at.selectbox(key="study-calibration-demo").set_value(choice)
    at.selectbox(key="study-evaluation-demo").set_value(choice).run()
    at.button[0].click().run()
    job = resources.jobs().wait(resources.jobs().jobs()[0].id, timeout=60)
    assert job.state == "failed"
    at.run()
    assert not at.exception
    assert "one mean and one std" in at.error[0].value or "channel" in at.error[0].value


# --- specs from the form -------------------------------------------------------------------------


def test_the_form_builds_the_spec_of_the_demo() -> None:
    spec = ask()
    assert (spec.model, spec.weights, spec.calibration) == ("demo:digits-vit", "", "demo:digits")


@pytest.mark.parametrize(
    "changes",
    [
        {"source": "factory"},
        {"source": "factory:os"},
        {"architecture": "factory:os:getcwd"},
        {"architecture": "digits-vit\nfactory:os:getcwd"},
        {"weights": "/etc/passwd"},
        {"weights": asked.HUB},
    ],
)
def test_no_factory_and_no_path_can_come_from_the_form(changes: dict[str, object]) -> None:
    with pytest.raises((StudyError, UnknownNameError)):
        ask(**changes)


@pytest.mark.parametrize(
    ("changes", "error", "text"),
    [
        ({"weights": asked.FILE}, StudyError, "uploaded first"),
        ({"calibration": ""}, StudyError, "calibration set must be chosen"),
        ({"input_size": 5000}, OptionError, "0..1,024"),
        ({"samples": -1}, OptionError, "got -1"),
        ({"name": "  "}, StudyError, "must have a name"),
        ({"normalize": "0.3"}, StudyError, "MEAN;STD"),
        ({"normalize": "0.3;0"}, StudyError, "positive"),
        ({"architecture": "digits-resnt"}, UnknownNameError, "did you mean `digits-resnet`"),
    ],
)
def test_a_bad_field_is_named_with_what_must_hold(
    changes: dict[str, object], error: type[Exception], text: str
) -> None:
    with pytest.raises(error) as raised:
        ask(**changes)
    assert text in str(raised.value)


# --- uploads -------------------------------------------------------------------------------------


def test_an_upload_is_kept_under_its_digest_and_shown_under_its_name(tmp_path: Path) -> None:
    content = demo.weights_path("digits-vit").read_bytes()
    first = uploads.keep(tmp_path, uploads.WEIGHTS, "../../my `vit`.SAFETENSORS", content)
    again = uploads.keep(tmp_path, uploads.WEIGHTS, "other.safetensors", content)
    assert first.path == again.path
    assert first.path.parent == tmp_path / "uploads"
    assert len(first.path.stem) == 64
    assert first.name == "my _vit_.SAFETENSORS"
    assert first.path.read_bytes() == content
    assert uploads.readable(f"in `{first.path}`", tmp_path) == "in `other.safetensors`"


class Code:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("true",)


def bomb() -> bytes:
    stream = io.BytesIO()
    with ZipFile(stream, "w", ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", bytes(100 * 2**20))
    return stream.getvalue()


def bad_uploads() -> dict[str, tuple[str, str, bytes, str]]:
    good = checkpoint({"w": torch.ones(1000)})
    return {
        "truncated weights": ("weights", "a.pt", good[: len(good) // 2], "cannot be read"),
        "code": ("weights", "a.pth", pickle.dumps(Code(), 2), "could run code"),
        "nan": ("weights", "a.pt", checkpoint({"w": torch.tensor([float("nan")])}), "NaN"),
        "not safetensors": ("weights", "a.safetensors", b"x" * 100, "complete safetensors"),
        "wrong ending": ("weights", "a.exe", b"x", "must end in .safetensors"),
        "empty": ("data", "a.npz", b"", "is empty"),
        "no archive": ("data", "a.npz", b"hello", "intact npz"),
        "without x": ("data", "a.npz", npz(z=np.zeros(3)), "an array `x`"),
        "objects": ("data", "a.npz", npz(x=np.array([{}, 1], object)), "plain numbers"),
        "zip bomb": ("data", "a.npz", bomb(), "times its size"),
    }


@pytest.mark.parametrize("case", list(bad_uploads()))
def test_a_bad_upload_is_refused_by_its_own_name_and_leaves_nothing(
    case: str, tmp_path: Path
) -> None:
    kind, name, content, text = bad_uploads()[case]
    with pytest.raises(AnalysisError) as raised:
        uploads.keep(tmp_path, kind, name, content)
    assert text in str(raised.value)
    assert uploads.kept(tmp_path) == ()
    assert not [p for p in (tmp_path / "tmp").rglob("*") if p.is_file()]
    assert str(tmp_path) not in str(raised.value)


def test_an_upload_above_the_limit_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "MAX_BYTES", 10)
    with pytest.raises(DataError, match="at most"):
        uploads.keep(tmp_path, uploads.DATA, "a.npz", bytes(11))


def test_uploads_of_studies_and_fresh_ones_are_not_removed(tmp_path: Path) -> None:
    old, used, fresh = (
        uploads.keep(tmp_path, uploads.DATA, "a.npz", npz(x=np.full((2, 1, 4, 4), i, np.uint8)))
        for i in range(3)
    )
    for upload in (old, used):
        os.utime(upload.path, (0, 0))
    paths = uploads.unused(tmp_path, [f"npz:{used.path}"])
    assert paths == (old.path,)
    assert uploads.remove(tmp_path, paths) > 0
    assert set(uploads.kept(tmp_path)) == {used.path, fresh.path}


# --- opening uploads: errors of the job ----------------------------------------------------------


def opened(spec: StudySpec) -> str:
    with pytest.raises(AnalysisError) as raised:
        result(opening.events(spec))
    text = str(raised.value)
    assert "\n" not in text
    return text


def test_keys_that_do_not_fit_are_named_together_with_the_model(
    cache_dir: Path, tmp_path: Path
) -> None:
    path = tmp_path / "a.safetensors"
    save_file({"strange": torch.ones(2)}, path)
    kept = uploads.keep(cache_dir, uploads.WEIGHTS, path.name, path.read_bytes())
    text = opened(ask(weights=asked.FILE, weights_file=str(kept.path)))
    assert "missing" in text
    assert "unexpected: strange" in text


@pytest.mark.parametrize(
    ("x", "y", "text"),
    [
        ((6, 3, 16, 16), [0, 1, 2, 3, 4, 5], "channel"),
        ((6, 1, 16, 16), [0, 1, 2, 3, 4, 99], "below the model's 10 classes"),
    ],
)
def test_data_that_does_not_fit_is_called_by_its_own_name(
    cache_dir: Path, x: tuple[int, ...], y: list[int], text: str
) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, x).astype(np.uint8)
    kept = [
        uploads.keep(cache_dir, uploads.DATA, f"mine{i}.npz", npz(x=pixels + i, y=np.array(y)))
        for i in (0, 1)
    ]
    calibration, evaluation = (f"npz:{upload.path}" for upload in kept)
    message = opened(ask(calibration=calibration, evaluation=evaluation, normalize="none"))
    assert text in message
    assert "mine0.npz" in message
    assert kept[0].path.stem not in message


@pytest.mark.parametrize(
    ("broken", "text"), [(1, "At most 10% of the images"), (0, "Images must have one size")]
)
def test_a_folder_of_bad_images_is_refused_with_the_reason(
    broken: int,
    text: str,
    cache_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(4):
        Image.new("RGB", (8 + i * (1 - broken), 8)).save(folder / f"{i}.png")
        if broken:
            (folder / f"broken{i}.jpg").write_bytes(b"no image")
    monkeypatch.setenv("BITLENS_DATA", str(tmp_path))
    spec = offered.data_spec(next(iter(offered.data_sets())))
    message = opened(ask(calibration=spec, evaluation=spec, normalize="none"))
    assert text in message
    assert str(tmp_path) not in message


def test_a_file_that_is_gone_is_one_sentence(cache_dir: Path) -> None:
    text = opened(ask(weights=asked.FILE, weights_file=str(cache_dir / "uploads" / "gone.pt")))
    assert "does not exist" in text


# --- what the operator offers --------------------------------------------------------------------


def test_offers_lie_below_the_folder_and_links_out_of_it_are_left_out(
    cache_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    for folder in (root / "one" / "two" / "three", root / "photos", outside):
        folder.mkdir(parents=True)
    for place in (root, root / "one", root / "one" / "two", outside):
        (place / "a.npz").write_bytes(b"x")
    (root / "photos" / "a.PNG").write_bytes(b"x")
    (root / "link").symlink_to(outside)
    (root / "link.npz").symlink_to(outside / "a.npz")
    (root / "inner.npz").symlink_to(root / "a.npz")
    monkeypatch.setenv("BITLENS_DATA", str(root))
    labels = {offer.label for offer in offered.data_sets().values()}
    assert labels == {"a.npz (npz)", "inner.npz (npz)", "one/a.npz (npz)", "photos (images)"}
    with pytest.raises(DataError, match="operator offers"):
        offered.data_spec(str(outside / "a.npz"))


def test_without_the_variables_nothing_is_offered(cache_dir: Path) -> None:
    assert offered.data_sets() == {}
    assert offered.study_files() == {}


FACTORY = """
from analysis.models import demo

def make():
    return demo.build("digits-resnet")
"""


def test_a_factory_opens_from_the_operators_file_and_stays_usable(
    cache_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_network.py").write_text(FACTORY)
    (tmp_path / "mine.toml").write_text(
        'model = "factory:own_network:make"\n'
        'calibration = "demo:digits"\nevaluation = "demo:digits"\n'
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("BITLENS_STUDIES", str(tmp_path))
    spec = offered.study_spec("mine")
    assert "study file or the command line" in opened(spec)
    study = result(opening.events(spec, trusted=True))
    resources._workspace.cache_clear()
    assert resources.workspace().in_memory(study) is None
    assert resources.workspace().live(study).study.model.source.startswith("factory:own_network")
    with pytest.raises(StudyError, match="operator offers"):
        offered.study_spec("../mine")


# --- words ---------------------------------------------------------------------------------------


def test_class_balance_says_least_and_most() -> None:
    from analysis.data.dataset import Dataset

    images = np.zeros((5, 1, 2, 2), np.uint8)
    labels = np.array([0, 0, 0, 1, 4])
    assert study_view.balance(Dataset(images, labels)) == ("3 classes occur, 1 to 3 samples each")
    assert study_view.balance(Dataset(images[:2], labels[2:4])) == (
        "2 classes occur, 1 sample each"
    )
    assert "no labels" in study_view.balance(Dataset(images))
