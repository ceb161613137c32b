"""Tensors of which each process holds a part: what comes back, and what is refused."""

import pytest

torch = pytest.importorskip("torch")

from gristlm.errors import DamagedArtifactError  # noqa: E402
from gristlm.training import parts  # noqa: E402
from gristlm.training.parts import Part  # noqa: E402


@pytest.fixture
def folder(tmp_path):
    """Two files: rows of one tensor, columns of another, and a number that the first alone has."""
    rows, columns = torch.arange(12.0).view(4, 3), torch.arange(8).view(2, 4)
    for rank in range(2):
        held = {
            "rows": Part(rows[rank * 3 : rank * 3 + 3], (4, 3), (rank * 3, 0)),
            "columns": Part(columns[:, 2 * rank : 2 * rank + 2], (2, 4), (0, 2 * rank)),
        }
        if rank == 0:
            held["step"] = Part(torch.tensor(7.0), (), ())
        parts.write(parts.file_of(tmp_path, "state", rank, 2), held)
    return tmp_path


def test_the_whole_comes_back(folder):
    read = parts.read(folder, "state")
    assert sorted(read) == ["columns", "rows", "step"]
    torch.testing.assert_close(read["rows"], torch.arange(12.0).view(4, 3))
    torch.testing.assert_close(read["columns"], torch.arange(8).view(2, 4))
    assert read["step"].item() == 7


def test_a_missing_file_is_named(folder):
    parts.file_of(folder, "state", 1, 2).unlink()
    with pytest.raises(DamagedArtifactError, match="1 files of state; some are missing"):
        parts.read(folder, "state")


def test_a_missing_part_is_named(folder):
    parts.write(parts.file_of(folder, "state", 1, 2), {"columns": Part(torch.zeros(2, 2).long(), (2, 4), (0, 2))})
    with pytest.raises(DamagedArtifactError, match="the parts of 'rows' do not make a whole"):
        parts.read(folder, "state")["rows"]


@pytest.mark.parametrize(("shape", "offset"), [((4, 3), (2, 0)), ((5, 3), (3, 0)), ((4, 3), (-1, 0))])
def test_a_part_that_does_not_fit_is_named(folder, shape, offset):
    parts.write(parts.file_of(folder, "state", 1, 2), {"rows": Part(torch.zeros(3, 3), shape, offset)})
    with pytest.raises(DamagedArtifactError, match=r"state-00002-of-00002.*'rows' does not lie in the whole"):
        parts.read(folder, "state")["rows"]


def test_a_file_without_its_places_is_named(folder):
    from safetensors.torch import save_file

    save_file({"rows": torch.zeros(1, 3)}, parts.file_of(folder, "state", 1, 2))
    with pytest.raises(DamagedArtifactError, match=r"state-00002-of-00002\.safetensors is damaged"):
        parts.read(folder, "state")
