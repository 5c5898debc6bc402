import os
import pickle
import subprocess
import zipfile

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from analysis.errors import WeightsError
from analysis.models.weights import WRAPPERS, digest, load_into, read_state_dict


def net() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3))


def other() -> nn.Sequential:
    torch.manual_seed(1)
    return net()


class Wrapped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.model = net()


def same(a: nn.Module, b: nn.Module) -> bool:
    return digest(a) == digest(b)


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".safetensors", ".th"])
def test_what_was_saved_is_read_back_bit_for_bit(tmp_path, suffix):
    source, target, path = other(), net(), tmp_path / f"w{suffix}"
    if suffix == ".safetensors":
        save_file(source.state_dict(), path)
    else:
        torch.save(source.state_dict(), path, _use_new_zipfile_serialization=suffix != ".th")
    load_into(target, read_state_dict(path))
    assert same(source, target)


@pytest.mark.parametrize("key", WRAPPERS)
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "model.", "module._orig_mod."])
def test_wrappings_and_prefixes_are_taken_off(tmp_path, key, prefix):
    source, path = other(), tmp_path / "w.pt"
    state = {prefix + name: value for name, value in source.state_dict().items()}
    torch.save({"epoch": 3, key: state, "best": 0.5}, path)
    assert set(read_state_dict(path)) == set(source.state_dict())


def test_weights_two_dictionaries_deep_are_found(tmp_path):
    torch.save({"model": {"state_dict": other().state_dict()}}, tmp_path / "w.pt")
    assert set(read_state_dict(tmp_path / "w.pt")) == set(net().state_dict())


def test_raw_weights_are_preferred_to_averaged_ones(tmp_path):
    raw, averaged = {"a": torch.zeros(1)}, {"a": torch.ones(1)}
    torch.save({"ema": averaged, "state_dict": raw}, tmp_path / "w.pt")
    assert read_state_dict(tmp_path / "w.pt")["a"] == 0


def test_a_prefix_that_only_some_names_have_stays(tmp_path):
    torch.save({"model.a": torch.zeros(1), "b": torch.zeros(1)}, tmp_path / "w.pt")
    assert set(read_state_dict(tmp_path / "w.pt")) == {"model.a", "b"}


def test_a_prefix_that_the_module_itself_has_does_not_matter(tmp_path):
    source, target = Wrapped(), Wrapped()
    torch.save(source.state_dict(), tmp_path / "w.pt")
    load_into(target, read_state_dict(tmp_path / "w.pt"))
    assert same(source, target)


def test_batch_counters_may_be_missing():
    source, target = other(), net()
    state = {k: v for k, v in source.state_dict().items() if "num_batches" not in k}
    load_into(target, state)
    assert same(source, target)


def test_half_precision_weights_are_loaded_in_the_module_s_precision():
    target = net()
    load_into(target, {k: v.half() if v.ndim else v for k, v in other().state_dict().items()})
    assert target[3].weight.dtype == torch.float32
    assert torch.equal(target[3].weight, other()[3].weight.half().float())


class Runs:
    def __init__(self, call) -> None:
        self.call = call

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("function", [os.system, subprocess.check_call, eval])
def test_code_is_refused_with_its_name_and_not_run(tmp_path, function, zipped):
    ran = tmp_path / "ran"
    call = f"open({str(ran)!r}, 'w')" if function is eval else f"touch {ran}"
    path = tmp_path / "w.pt"
    torch.save({"a": Runs((function, (call,)))}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(
        WeightsError, match=rf"asks for the Python object `[\w.]*{function.__name__}`"
    ):
        read_state_dict(path)
    assert not ran.exists()


@pytest.mark.parametrize("protocol", range(6))
def test_code_in_a_pickle_that_torch_did_not_write_is_refused_with_its_name(tmp_path, protocol):
    ran, path = tmp_path / "ran", tmp_path / "w.pt"
    code = {"state_dict": {"a": torch.zeros(2)}, "b": Runs((os.system, (f"touch {ran}",)))}
    for content in (code, [code["b"], code["b"]]):
        path.write_bytes(pickle.dumps(content, protocol))
        with pytest.raises(WeightsError, match="could run code") as refused:
            read_state_dict(path)
        if protocol >= 4 or content is not code:
            assert f"`{os.system.__module__}.system`" in str(refused.value)
    assert not ran.exists()


def test_the_content_decides_the_format_not_the_ending(tmp_path):
    state = {"a": torch.arange(3.0)}
    save_file(state, tmp_path / "w.pt")
    torch.save(state, tmp_path / "w.safetensors")
    for name in ("w.pt", "w.safetensors"):
        assert torch.equal(read_state_dict(tmp_path / name)["a"], state["a"])


def test_a_truncated_old_file_is_not_taken_for_code(tmp_path):
    path = tmp_path / "w.pt"
    torch.save({"a": torch.zeros(100)}, path, _use_new_zipfile_serialization=False)
    whole = path.read_bytes()
    for length in range(40, len(whole) - 1, 40):
        path.write_bytes(whole[:length])
        with pytest.raises(WeightsError, match="complete torch checkpoint"):
            read_state_dict(path)


def test_a_whole_pickled_module_is_refused_with_advice(tmp_path):
    torch.save(nn.Linear(2, 2), tmp_path / "w.pt")
    with pytest.raises(WeightsError, match=r"Linear`.*state_dict\(\)"):
        read_state_dict(tmp_path / "w.pt")


def test_a_torchscript_program_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "w.pt", "w") as archive:
        archive.writestr("w/constants.pkl", b"")
    with pytest.raises(WeightsError, match="TorchScript"):
        read_state_dict(tmp_path / "w.pt")


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
@given(share=st.floats(0, 0.97))
def test_a_file_cut_short_anywhere_is_refused(tmp_path_factory, kind, share):
    path = tmp_path_factory.mktemp("cut") / ("w.safetensors" if kind == "safetensors" else "w.pt")
    state = {"a": torch.arange(300.0)}
    if kind == "safetensors":
        save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=kind == "zip")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(WeightsError, match=r"w\."):
        read_state_dict(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (torch.zeros(2), "tensors by name, got Tensor"),
        ([torch.zeros(2)], "tensors by name, got list"),
        ({}, "tensors by name, got none"),
        ({"state_dict": {}}, "tensors by name, got none"),
        ({"a": torch.zeros(2), "lr": 0.1}, r"lr \(float\)"),
        ({"a": torch.zeros(1).expand(2**40)}, "at most 16 GiB"),
        ({"a": torch.eye(3).to_sparse()}, "dense tensors.*a"),
        ({"a": torch.tensor([1.0, float("nan")]), "b": torch.zeros(1)}, "NaN or infinity in 1 .*a"),
        (
            {f"x{i}": torch.tensor(float("inf")) for i in range(5)},
            "in 5 tensors: x0, x1, x2 and 2 m",
        ),
    ],
)
def test_content_other_than_finite_named_tensors_is_refused(tmp_path, content, message):
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match=message):
        read_state_dict(tmp_path / "w.pt")


def test_missing_files_empty_files_and_folders_are_told_apart(tmp_path):
    (tmp_path / "empty.pt").touch()
    for path, message in (
        (tmp_path, "got a folder"),
        (tmp_path / "none.pt", "does not exist"),
        (tmp_path / "empty.pt", "is empty"),
    ):
        with pytest.raises(WeightsError, match=message):
            read_state_dict(path)


@pytest.mark.parametrize(
    "content", [b"<html>not found</html>", b"hello", pickle.dumps({"a": 1}, 2)]
)
@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
def test_other_files_are_refused(tmp_path, content, name):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=name):
        read_state_dict(tmp_path / name)


def test_an_archive_that_expands_is_refused_before_it_is_read(tmp_path):
    with zipfile.ZipFile(tmp_path / "w.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("w/data/0", bytes(10**7))
    with pytest.raises(WeightsError, match="expands to 10,000,000"):
        read_state_dict(tmp_path / "w.pt")


def test_what_does_not_fit_is_listed_with_counts_and_nothing_is_changed():
    module, state = net(), other().state_dict()
    before = digest(module)
    del state["0.bias"]
    state |= {f"extra{i}": torch.zeros(1) for i in range(5)}
    state["3.weight"] = torch.zeros(10, 8)
    state["0.weight"] = torch.zeros(2, 1, 3, 3, dtype=torch.int8)
    with pytest.raises(WeightsError) as caught:
        load_into(module, state)
    text = str(caught.value)
    assert "1 missing: 0.bias" in text
    assert "5 unexpected: extra0, extra1, extra2 and 2 more" in text
    assert "3.weight (10x8 instead of 3x8)" in text
    assert "0.weight (torch.int8 instead of torch.float32)" in text
    assert digest(module) == before


def test_the_digest_sees_every_bit_of_parameters_and_buffers():
    seen = {digest(other())}
    for change in (
        lambda m: m[0].weight.data.view(torch.int32)[0, 0, 0, 0].bitwise_xor_(1),
        lambda m: m[1].running_var.mul_(2),
        lambda m: m[3].half(),
        lambda m: m.append(nn.Linear(1, 1)),
    ):
        module = other()
        change(module)
        seen.add(digest(module))
    assert len(seen) == 5


def test_the_digest_is_that_of_the_values_however_they_lie_in_memory():
    a, b = nn.Linear(3, 4), nn.Linear(3, 4)
    b.load_state_dict(a.state_dict())
    b.weight.data = b.weight.data.t().contiguous().t()
    assert same(a, b)
