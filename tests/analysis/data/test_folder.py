import numpy as np
import pytest
from PIL import Image

from analysis.data import folder as folder_module
from analysis.data.folder import read_folder
from analysis.errors import DataError
from analysis.models.vision_ops import import_torchvision


def save(path, width=20, height=16, seed=0, mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(path)
    return pixels


def read(folder, size=0, limit=0, seed=0):
    return read_folder(folder, input_size=size, limit=limit, seed=seed, name="images:test")


def test_plain_images_are_read_in_order_of_their_names_without_labels(tmp_path):
    second, first = save(tmp_path / "b.png", seed=1), save(tmp_path / "a.PNG", seed=2)
    (tmp_path / "readme.txt").write_text("no image")
    data = read(tmp_path)
    assert data.labels is None
    assert np.array_equal(data.images, np.stack([first, second]).transpose(0, 3, 1, 2))


def test_class_folders_give_labels_in_sorted_order(tmp_path):
    for name in ("dog", "cat", "ant"):
        save(tmp_path / name / "0.png")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "empty").mkdir()
    data = read(tmp_path)
    assert data.class_names == ("ant", "cat", "dog")
    assert data.labels.tolist() == [0, 1, 2]


def test_class_folders_with_numbers_keep_them(tmp_path):
    for name in ("10", "2"):
        save(tmp_path / name / "0.png")
    data = read(tmp_path)
    assert data.labels.tolist() == [10, 2]
    assert data.class_names == ()


@pytest.mark.parametrize(
    ("labels", "expected", "names"),
    [(("7", "7", "3"), [7, 7, 3], ()), (("b", "a", "1"), [2, 1, 0], ("1", "a", "b"))],
)
def test_labels_of_a_table_are_numbers_or_names(tmp_path, labels, expected, names):
    for i in range(3):
        save(tmp_path / "images" / f"{i}.png", seed=i)
    rows = "".join(f"images/{i}.png,{label}\r\n" for i, label in enumerate(labels))
    (tmp_path / "labels.csv").write_text("\ufefffile,label\r\n" + rows, encoding="utf-8")
    data = read(tmp_path)
    assert data.labels.tolist() == expected
    assert data.class_names == names


@pytest.mark.parametrize("path", ["../secret.png", "/secret.png", "a/../../secret.png", "link.png"])
def test_a_table_cannot_lead_out_of_its_folder(tmp_path, path):
    inside = tmp_path / "inside"
    save(inside / "a.png")
    save(tmp_path / "secret.png")
    (inside / "link.png").symlink_to(tmp_path / "secret.png")
    (inside / "labels.csv").write_text(f"file,label\na.png,0\n{path},1\n")
    with pytest.raises(DataError, match=r"must lie in its folder.*line 3"):
        read(inside)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("", "columns `file` and `label`"),
        ("file,label\n", "columns `file` and `label`"),
        ("path,label\na.png,0\n", "got path, label"),
        ("file,label\na.png,\n", "line 2"),
        ("file,label\na.png\n", "line 2"),
        ("file,label\na.png,0\n,1\n", "line 3"),
    ],
)
def test_an_incomplete_table_is_refused(tmp_path, table, message):
    save(tmp_path / "a.png")
    (tmp_path / "labels.csv").write_text(table)
    with pytest.raises(DataError, match=message):
        read(tmp_path)


def test_a_table_that_is_not_utf_8_is_refused(tmp_path):
    (tmp_path / "labels.csv").write_bytes(b"file,label\n\xff\xfe,0\n")
    with pytest.raises(DataError, match="UTF-8"):
        read(tmp_path)


@pytest.mark.parametrize(("width", "height"), [(256, 256), (341, 256), (256, 375), (511, 256)])
def test_images_with_the_right_short_side_are_only_cropped(tmp_path, width, height):
    pixels = save(tmp_path / "a.png", width, height)
    found = read(tmp_path, 224).images[0].transpose(1, 2, 0)
    top, left = (height - 224) // 2, (width - 224) // 2
    assert np.array_equal(found, pixels[top : top + 224, left : left + 224])


@pytest.mark.parametrize("size", [24, 32, 56])
@pytest.mark.parametrize(("width", "height"), [(50, 40), (33, 97), (20, 20)])
def test_resizing_is_that_of_torchvision_and_the_centre_is_cropped(tmp_path, size, width, height):
    pixels = save(tmp_path / "a.png", width, height)
    transforms = import_torchvision().transforms
    resized = transforms.Resize(round(size * 256 / 224))(Image.fromarray(pixels))
    left, top = ((side - size) // 2 for side in resized.size)
    expected = resized.crop((left, top, left + size, top + size))
    found = read(tmp_path, size).images[0].transpose(1, 2, 0)
    assert np.array_equal(found, np.asarray(expected))


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGBA", "LA"])
def test_other_colours_become_three_channels(tmp_path, mode):
    save(tmp_path / "a.png", mode=mode)
    assert read(tmp_path).sample_shape == (3, 16, 20)


def test_grayscale_is_repeated(tmp_path):
    save(tmp_path / "a.png", mode="L")
    red, green, blue = read(tmp_path).images[0]
    assert np.array_equal(red, green)
    assert np.array_equal(red, blue)


def damaged(folder, good, bad, sixteen_bit=False):
    for i in range(good):
        save(folder / "c" / f"good{i:02}.png", seed=i)
    for i in range(bad):
        path = folder / "c" / f"bad{i}.png"
        if sixteen_bit:
            Image.fromarray(np.zeros((16, 20), np.uint16)).save(path)
        else:
            path.write_bytes((folder / "c" / "good00.png").read_bytes()[: 60 if i else 0])


@pytest.mark.parametrize("sixteen_bit", [False, True])
def test_a_tenth_of_unreadable_images_is_left_out_and_counted(tmp_path, sixteen_bit):
    damaged(tmp_path, 18, 2, sixteen_bit)
    data = read(tmp_path)
    assert len(data) == len(data.labels) == 18
    assert data.notes[0].startswith("2 of 20 images could not be read")


def test_more_unreadable_images_are_refused(tmp_path):
    damaged(tmp_path, 17, 2)
    with pytest.raises(DataError, match=r"At most 10%.*2 of 19, first: bad0\.png"):
        read(tmp_path)


def test_labels_follow_their_images_when_others_are_left_out(tmp_path):
    shades = [10 * i for i in range(1, 12)]
    for i, shade in enumerate(shades):
        Image.new("RGB", (4, 4), (shade, 0, 0)).save(tmp_path / f"{i:02}.png")
    (tmp_path / "04.png").write_bytes(b"broken")
    rows = "".join(f"{i:02}.png,{shade}\n" for i, shade in enumerate(shades))
    (tmp_path / "labels.csv").write_text("file,label\n" + rows)
    data = read(tmp_path)
    assert data.labels.tolist() == data.images[:, 0, 0, 0].tolist() == shades[:4] + shades[5:]


def test_a_limit_opens_only_the_chosen_files_and_is_repeatable(tmp_path, monkeypatch):
    for label in ("a", "b"):
        for i in range(10):
            save(tmp_path / label / f"{i}.png", seed=i)
    opened = []
    original = folder_module._open
    monkeypatch.setattr(folder_module, "_open", lambda f, s: opened.append(f) or original(f, s))
    first = read(tmp_path, limit=6, seed=3)
    assert len(opened) == 6
    assert first.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert first.digest == read(tmp_path, limit=6, seed=3).digest


def test_images_of_different_sizes_need_an_input_size(tmp_path):
    save(tmp_path / "a.png", 20, 16)
    save(tmp_path / "b.png", 16, 20)
    with pytest.raises(DataError, match=r"20 x 16 and 16 x 20.*Set the input size"):
        read(tmp_path)
    assert read(tmp_path, 8).sample_shape == (3, 8, 8)


@pytest.mark.parametrize("limit", ["MAX_PIXELS", "PIL"])
def test_an_image_with_too_many_pixels_is_refused_before_it_is_decoded(
    tmp_path, monkeypatch, limit
):
    save(tmp_path / "a.png", 100, 100)
    if limit == "PIL":
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    else:
        monkeypatch.setattr(folder_module, "MAX_PIXELS", 1000)
    monkeypatch.setattr(Image.Image, "convert", lambda *_: pytest.fail("decoded"))
    with pytest.raises(DataError, match="million pixels"):
        read(tmp_path)


@pytest.mark.parametrize("size", [0, 2])
def test_images_that_would_not_fit_in_memory_are_refused(tmp_path, monkeypatch, size):
    monkeypatch.setattr(folder_module, "MAX_BYTES", 20)
    save(tmp_path / "a.png")
    save(tmp_path / "b.png")
    with pytest.raises(DataError, match=r"at most .* GiB"):
        read(tmp_path, size)


def test_a_folder_without_images_and_a_missing_folder_are_refused(tmp_path):
    with pytest.raises(DataError, match="must hold images"):
        read(tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        read(tmp_path / "none")
