"""Inception's features and LPIPS, with made weights, against the packages' own programs."""

from __future__ import annotations

import hashlib
import urllib.error
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pgi.errors import PerceptualError
from pgi.evaluation import perceptual_networks
from pgi.evaluation.perceptual import frechet_distance
from pgi.evaluation.perceptual_networks import Networks, find_weights

torch = pytest.importorskip("torch", reason="needs the extra [perceptual]")
lpips = pytest.importorskip("lpips")
torch_fidelity = pytest.importorskip("torch_fidelity")
torchvision = pytest.importorskip("torchvision")

pytestmark = pytest.mark.slow

WEIGHTS = "https://localhost:9/weights-"


@pytest.fixture(autouse=True)
def checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def made_weights(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Random weights under the names of the reference ones; returns Inception's file."""
    from torch_fidelity import feature_extractor_inceptionv3 as inception

    # Their hash is another, of course.
    monkeypatch.setattr(perceptual_networks, "check_hash", lambda path: None)
    torch.manual_seed(0)
    url = torchvision.models.AlexNet_Weights.IMAGENET1K_V1.url
    torch.save(torchvision.models.alexnet().state_dict(), folder / Path(url).name)
    path = folder / Path(inception.URL_INCEPTION_V3).name
    torch.save({}, path)
    with monkeypatch.context() as patch:
        patch.setattr(torch.nn.Module, "load_state_dict", lambda *_: None)
        network = inception.FeatureExtractorInceptionV3("x", ["2048"], str(path))
    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(layer.weight)  # Without it all features vanish.
    torch.save(network.state_dict(), path)
    return path


def test_fid_and_lpips_are_those_of_the_packages_own_programs(
    tmp_path: Path, checkpoints: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = made_weights(checkpoints, monkeypatch)
    networks = Networks()
    random = np.random.default_rng(0)
    real = random.integers(0, 256, [6, 80, 64, 3], np.uint8)
    fake = np.where(random.random([6, 80, 64, 1]) < 0.3, np.uint8(200), real)
    for name, images in (("real", real), ("fake", fake)):
        (tmp_path / name).mkdir()
        for number, image in enumerate(images):
            Image.fromarray(image).save(tmp_path / name / f"{number}.png")

    theirs = torch_fidelity.calculate_metrics(
        input1=str(tmp_path / "real"),
        input2=str(tmp_path / "fake"),
        fid=True,
        cuda=False,
        feature_extractor_weights_path=str(weights),
        cache=False,
        verbose=False,
    )["frechet_inception_distance"]
    features = [networks.features(images) for images in (real, fake)]
    assert [x.shape for x in features] == [(6, 2048)] * 2
    assert theirs > 1  # Not two numbers that are both nearly zero.
    assert frechet_distance(*features) == pytest.approx(theirs, rel=1e-3)

    own = lpips.LPIPS(net="alex", verbose=False)
    pairs = [
        [
            lpips.im2tensor(np.asarray(Image.open(tmp_path / x / f"{n}.png")))
            for x in ("real", "fake")
        ]
        for n in range(6)
    ]
    distances = networks.distances(real, fake)
    assert distances == pytest.approx([float(own(*pair).detach()) for pair in pairs], rel=1e-4)
    assert networks.distances(real, real) == pytest.approx(np.zeros(6), abs=1e-9)


def test_missing_weights_are_named_with_their_address_and_their_place(
    checkpoints: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", fails)
    with pytest.raises(PerceptualError) as caught:
        Networks()
    message = str(caught.value)
    for name in ("weights-inception-2015-12-05-6726825d.pth", "alexnet-owt-7be5be79.pth"):
        assert message.count(f"/{name}\n") == 1 and f"to {checkpoints / name} (" in message
    assert message.count("https://") == 2 and "no network" in message


def test_weights_are_taken_from_their_place_if_their_hash_is_that_of_their_name(
    checkpoints: Path,
) -> None:
    digest = hashlib.sha256(b"weights").hexdigest()
    path = checkpoints / f"weights-{digest[:8]}.pth"
    path.write_bytes(b"weights")
    assert find_weights([f"{WEIGHTS}{digest[:8]}.pth"]) == [path]
    path.write_bytes(b"weight")
    with pytest.raises(PerceptualError, match=rf"{path} is damaged .* begin with {digest[:8]}"):
        find_weights([f"{WEIGHTS}{digest[:8]}.pth"])


def test_a_download_of_another_hash_is_not_kept(tmp_path: Path, checkpoints: Path) -> None:
    source = tmp_path / "weights-00000000.pth"
    source.write_bytes(b"other")
    with pytest.raises(PerceptualError, match="invalid hash value"):
        find_weights([source.as_uri()])
    assert not list(checkpoints.iterdir())
