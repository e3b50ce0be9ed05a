"""The authors' filters of AIM, SUN and ICL, written here as MATLAB files in their layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from scipy.io import savemat

from vidsal.cli import main
from vidsal.errors import CheckpointError
from vidsal.model.baselines import build_baseline
from vidsal.model.baselines.contract import fit, floats, resized
from vidsal.model.baselines.published import import_filters
from vidsal.model.checkpoint import load_model, read_any_checkpoint

Array = npt.NDArray[np.float64]
RANDOM = np.random.default_rng(0)
PICTURE = RANDOM.integers(0, 256, (48, 64, 3), np.uint8)
AIM = RANDOM.standard_normal((6, 5 * 5 * 3))
SUN = {
    "B1": RANDOM.standard_normal((7, 5 * 5 * 3)),
    "sigmas": RANDOM.uniform(0.6, 8, (1, 7)),
    "thetas": RANDOM.uniform(0.7, 1.5, (1, 7)),
}
MIXING = RANDOM.standard_normal((192, 192))
ICL = {"A": MIXING, "W": np.linalg.inv(MIXING)}


def listed(patch: Array) -> Array:
    """A patch of (rows, columns, 3) as MATLAB's colon lists it."""
    return patch.ravel(order="F")


def responses(picture: Array, bank: Array, side: int) -> Array:
    """(n, rows, columns) of every patch that fits, one by one."""
    rows, columns = picture.shape[0] - side + 1, picture.shape[1] - side + 1
    patches = [[listed(picture[i : i + side, j : j + side]) for j in range(columns)] for i in range(rows)]
    return np.einsum("nk,ijk->nij", bank, np.array(patches))


def made(tmp_path: Path, name: str, content: dict[str, Array]) -> Path:
    savemat(tmp_path / f"{name}.mat", content)
    return import_filters(tmp_path / f"{name}.mat", name=name, output=tmp_path / f"{name}.safetensors", overwrite=True)


def density_of(path: Path, picture: npt.NDArray[np.uint8] = PICTURE) -> Array:
    network, _, _ = read_any_checkpoint(path)
    return network.baseline.predict(picture[None])[0].astype(np.float64)  # type: ignore[operator,union-attr]


def alike(one: Array, other: Array) -> float:
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


def small() -> Array:
    """The picture as both models see it: 320 pixels on its longer side."""
    return resized(floats(PICTURE), *fit(*PICTURE.shape[:2], 320)).astype(np.float64)


def test_suns_filters_are_those_of_the_file(tmp_path: Path) -> None:
    path = made(tmp_path, "sun", SUN)
    seen = small()
    found = responses(seen / seen.std(ddof=1), SUN["B1"], 5)
    total = (np.abs(found / SUN["sigmas"].T[..., None]) ** SUN["thetas"].T[..., None]).sum(0)
    expected = resized(np.pad(total - total.min(), 2).astype(np.float32), 48, 64)
    got = density_of(path)
    scaled = (expected - expected.min()) * (np.ptp(got) / np.ptp(expected))
    assert np.abs(got - got.min() - scaled).max() < 1e-4 * np.ptp(got)
    # Patches row by row, as Python lists them, would be others; and the first form is another model.
    turned = SUN["B1"].reshape(7, 5, 5, 3).transpose(0, 3, 2, 1).reshape(7, -1)
    assert alike(density_of(made(tmp_path, "sun", {**SUN, "B1": turned})), got) < 0.999
    assert alike(build_baseline("sun").predict(PICTURE[None])[0].astype(np.float64), got) < 0.9


def test_aims_filters_are_those_of_the_file(tmp_path: Path) -> None:
    path = made(tmp_path, "aim", {"B": AIM, "other": np.zeros((2, 2))})
    information: Array = np.zeros(())
    for one in responses(small(), AIM, 5):
        bins = np.rint((one - one.min()) * (999 / np.ptp(one))).astype(int)
        information = information - np.log(np.bincount(bins.ravel(), minlength=1000)[bins] / bins.size + 1e-6)
    got = density_of(path)
    # Bins have edges, at which rounding decides; the blur is the model's own.
    from scipy.ndimage import gaussian_filter

    whole = gaussian_filter(np.pad(information - information.min(), 2), 4, mode="nearest")
    assert alike(got, resized(whole.astype(np.float32), 48, 64).astype(np.float64)) > 0.9995
    assert alike(build_baseline("aim").predict(PICTURE[None])[0].astype(np.float64), got) < 0.95


def test_icls_filters_are_those_of_the_file_and_go_through_a_run(tmp_path: Path) -> None:
    path = made(tmp_path, "icl", ICL)
    network, _, card = read_any_checkpoint(path)
    held = network.get_buffer("filters").numpy()
    for number in (0, 100):
        np.testing.assert_allclose(listed(held[number]), ICL["W"][number], rtol=1e-6)
    assert "icl.mat, sha256 " in card.initialisation and "on their terms" in card.licence
    model = load_model(path, device="cpu")
    assert model.card.name == "icl" and model.network.baseline.memory_size == 192  # type: ignore[union-attr]
    own = build_baseline("icl").predict(PICTURE[None])[0].astype(np.float64)
    assert density_of(path).sum() == pytest.approx(1, abs=1e-4) and alike(density_of(path), own) < 0.999


def test_a_file_that_is_not_the_authors_is_refused_by_what_is_wrong(tmp_path: Path) -> None:
    def refused(name: str, content: dict[str, Array] | bytes, says: str) -> None:
        path = tmp_path / "bad.mat"
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            savemat(path, content)
        with pytest.raises(CheckpointError, match=says) as caught:
            import_filters(path, name=name, output=tmp_path / "out.safetensors")
        assert not (tmp_path / "out.safetensors").exists() and "\n" not in str(caught.value)

    refused("aim", {"C": AIM}, "holds no variable B")
    refused("aim", {"B": AIM[:, :-1]}, r"B is 6x74, expected filters in rows, of square patches")
    refused("aim", {"B": RANDOM.standard_normal((6, 48))}, "patches of 4 pixels, expected an odd number")
    refused("aim", {"B": AIM * np.nan}, "B holds values that are not finite")
    refused("aim", {"B": AIM + 1j}, "B is no matrix of real numbers")
    refused("sun", {**SUN, "thetas": SUN["thetas"][:, 1:]}, "7 filters, 7 sigmas and 6 thetas")
    refused("sun", {**SUN, "sigmas": -SUN["sigmas"]}, "all above 0")
    refused("icl", {**ICL, "A": MIXING.T}, "W is not the inverse of A")
    refused("icl", {"A": np.eye(48), "W": np.eye(48)}, "48 filters, expected 192")
    refused("aim", b"not MATLAB's", "not a MATLAB file that can be read")
    savemat(tmp_path / "whole.mat", {"B": AIM})
    refused("aim", (tmp_path / "whole.mat").read_bytes()[:400], "not a MATLAB file|holds no variable")
    with pytest.raises(CheckpointError, match="no such file"):
        import_filters(tmp_path / "none.mat", name="aim", output=tmp_path / "out.safetensors")


def test_a_checkpoint_without_its_filters_is_none(tmp_path: Path) -> None:
    from safetensors import safe_open
    from safetensors.torch import save_file

    path = made(tmp_path, "sun", SUN)
    with safe_open(path, framework="pt") as file:
        header, filters = file.metadata(), file.get_tensor("filters")
    save_file({"filters": filters}, tmp_path / "half.safetensors", metadata=header)
    with pytest.raises(CheckpointError, match="2 tensors missing"):
        read_any_checkpoint(tmp_path / "half.safetensors")


def test_the_command_makes_a_checkpoint_of_filters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    savemat(tmp_path / "21jade950.mat", {"B": AIM})
    asked = ["weights", "import", str(tmp_path / "21jade950.mat"), "--as", "aim"]
    assert main(asked) == 2 and "--output" in capsys.readouterr().err
    assert main([*asked, "--output", str(tmp_path / "aim.safetensors")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "aim.safetensors")
    assert main(["models", str(tmp_path / "aim.safetensors")]) == 0
    assert "With the filters of its authors" in " ".join(capsys.readouterr().out.split())
