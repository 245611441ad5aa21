"""Work on items is resumed after an interruption, and never mixed with another run."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from medscore.engine.items import Item, ItemFolder, fingerprint_of, run_items, state_path
from medscore.errors import Interrupted, MedscoreError


def result(index: int) -> Item:
    x = torch.full((1, 2), index / 3, dtype=torch.float64)
    return Item({"value": index / 3, "nothing": None, "nan": float("nan")}, {"x": x})


def stopping(at: int) -> Callable[[int], Item]:
    """Work that is interrupted by Ctrl-C at a given item."""

    def work(index: int) -> Item:
        if index == at:
            raise KeyboardInterrupt
        return result(index)

    return work


def test_an_interrupted_run_resumes_with_the_same_results(tmp_path: Path) -> None:
    file, worked = ItemFolder(tmp_path / "state", "a"), []
    with pytest.raises(Interrupted):
        run_items(4, stopping(2), file)

    def work(index: int) -> Item:
        worked.append(index)
        return result(index)

    items = run_items(4, work, file)
    assert worked == [2, 3]
    for index, item in enumerate(items):
        assert item.record["value"] == index / 3
        assert item.record["nothing"] is None
        assert item.record["nan"] != item.record["nan"]
        assert torch.equal(item.tensors["x"], result(index).tensors["x"])
    assert [path.name for path in tmp_path.iterdir()] == ["state"]
    file.remove()
    file.remove()
    assert not list(tmp_path.iterdir())


def test_items_are_saved_before_they_are_reported(tmp_path: Path) -> None:
    file, seen = ItemFolder(tmp_path / "state", "a"), []

    def report(done: int, item: Item) -> None:
        seen.append((done, len(file.load()), item.record["value"]))

    run_items(3, result, file, report)
    assert seen == [(1, 1, 0.0), (2, 2, 1 / 3), (3, 3, 2 / 3)]


def test_without_a_file_nothing_is_saved_and_ctrl_c_passes() -> None:
    assert [item.record["value"] for item in run_items(2, result)] == [0.0, 1 / 3]
    with pytest.raises(KeyboardInterrupt) as caught:
        run_items(2, stopping(1))
    assert not isinstance(caught.value, Interrupted)


def test_items_of_another_run_are_refused(tmp_path: Path) -> None:
    ItemFolder(tmp_path / "state", "a").save(0, result(0))
    with pytest.raises(MedscoreError, match="saved state of another run"):
        run_items(2, result, ItemFolder(tmp_path / "state", "b"))


@pytest.mark.parametrize("damage", ["text", "half", "record", "no record", "file"])
def test_a_damaged_state_is_refused(tmp_path: Path, damage: str) -> None:
    from safetensors.torch import save

    folder = ItemFolder(tmp_path / "state", "a")
    folder.save(0, result(0))
    path = folder.path / "0000000.safetensors"
    if damage == "text":
        path.write_text("{}")
    elif damage == "half":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif damage == "record":
        path.write_bytes(save({}, metadata={"fingerprint": "a", "record": "[1]"}))
    elif damage == "no record":
        path.write_bytes(save({}, metadata={"fingerprint": "a"}))
    else:
        folder = ItemFolder(path, "a")
    with pytest.raises(MedscoreError, match="cannot be read as the saved state of an interrupted"):
        run_items(2, result, folder)


@pytest.mark.parametrize("part", ["tensor", "record", "note", "hash"])
def test_a_state_with_another_number_is_refused(tmp_path: Path, part: str) -> None:
    folder = ItemFolder(tmp_path / "state", "a")
    folder.save(0, result(1))
    (path,) = folder.path.iterdir()
    with safe_open(path, framework="pt") as file:
        header, tensors = file.metadata(), {"x": file.get_tensor("x")}
    if part == "tensor":
        tensors["x"][0, 1] = 0.25
    elif part == "record":
        header["record"] = header["record"].replace("0.333", "0.334")
    elif part == "note":
        header["note"] = "another"
    else:
        del header["sha256"]
    save_file(tensors, path, metadata=header)
    assert folder.saved() is None
    with pytest.raises(MedscoreError, match=r"state: cannot be read as the saved state.*remove it"):
        folder.load()


def test_finished_items_are_written_once(tmp_path: Path) -> None:
    folder, times = ItemFolder(tmp_path / "state", "a"), []

    def note(done: int, item: Item) -> None:
        files = sorted(folder.path.iterdir())
        times.append([file.stat().st_mtime_ns for file in files])

    run_items(3, result, folder, note)
    assert [len(each) for each in times] == [1, 2, 3]
    assert times[2][:1] == times[0]
    assert times[2][:2] == times[1]


def test_a_finished_item_replaces_the_state_of_the_unfinished_one(tmp_path: Path) -> None:
    folder = ItemFolder(tmp_path / "state", "a")
    folder.save_point(result(7))
    found = folder.load_point()
    assert found is not None
    assert found.record["value"] == 7 / 3
    folder.save(0, result(0))
    assert folder.load_point() is None
    assert len(folder.load()) == 1


def test_a_fingerprint_depends_on_every_part_and_not_on_the_order_of_keys() -> None:
    parts = ("0.1", {"a": 1, "b": None}, ["x", "y"])
    assert fingerprint_of(*parts) == fingerprint_of("0.1", {"b": None, "a": 1}, ["x", "y"])
    others = [("0.2", *parts[1:]), (parts[0], {"a": 2, "b": None}, parts[2]), parts[:2]]
    assert len({fingerprint_of(*other) for other in [parts, *others]}) == 4


def test_the_state_lies_hidden_beside_the_output() -> None:
    assert state_path(Path("a/out")) == Path("a/.out.resume")
    assert state_path(Path("a/c.npz"), "encode") == Path("a/.c.npz.encode.resume")
