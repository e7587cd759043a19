"""Networks of the perceptual metrics, with their reference weights; they need extra packages.

FID, P-IDS and U-IDS are defined on one Inception network, of 2015-12-05, which torch-fidelity
computes as TensorFlow 1 did, with its way of resizing images. The InceptionV3 of Keras and that of
torchvision are other networks. LPIPS is its authors' package, with AlexNet, as mostly reported.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from pgi.arrays import FloatArray, UInt8Array
from pgi.errors import PerceptualError
from pgi.evaluation.perceptual import INSTALL

_FEATURES = "2048"  # torch-fidelity's name of what the last pooling gives.


class Networks:
    """Inception and LPIPS, on a GPU if torch sees one.

    Their weights lie in torch's folder of checkpoints, and are downloaded if they do not.

    Raises:
        PerceptualError: a package is not installed, or weights are missing or damaged.
    """

    def __init__(self) -> None:
        try:
            import lpips
            import sklearn.svm  # noqa: F401  (the scores need it, after all features are there)
            import torch
            from torch_fidelity import feature_extractor_inceptionv3 as inception
            from torchvision.models import AlexNet_Weights
        except ImportError as error:
            raise PerceptualError(
                f"perceptual metrics need the extra [perceptual]: {INSTALL} ({error})"
            ) from error
        alexnet_url = AlexNet_Weights.IMAGENET1K_V1.url
        inception_file, _ = find_weights([inception.URL_INCEPTION_V3, alexnet_url])
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._inception = inception.FeatureExtractorInceptionV3(
            "inception-v3-compat", [_FEATURES], feature_extractor_weights_path=str(inception_file)
        ).to(self._device)
        with warnings.catch_warnings():  # lpips names AlexNet's weights as one did before.
            warnings.filterwarnings("ignore", module=r"torchvision\.models\._utils")
            self._lpips = lpips.LPIPS(net="alex", verbose=False).to(self._device)

    def features(self, images: UInt8Array) -> FloatArray:
        """Inception's features, `[N, 2048]`, of images `[N, H, W, 3]` of any size."""
        import torch

        with torch.inference_mode():
            (features,) = self._inception(self._tensor(images))
        return np.asarray(features.cpu().numpy())

    def distances(self, real: UInt8Array, fake: UInt8Array) -> FloatArray:
        """LPIPS, `[N]`, of pairs of images, each `[N, H, W, 3]`."""
        import torch

        # LPIPS takes values from -1 to 1.
        pair = (self._tensor(images) / 127.5 - 1 for images in (real, fake))
        with torch.inference_mode():
            return np.asarray(self._lpips(*pair).flatten().cpu().numpy())

    def _tensor(self, images: UInt8Array) -> Any:
        import torch

        return torch.from_numpy(images).to(self._device).permute(0, 3, 1, 2)


def find_weights(urls: Iterable[str]) -> list[Path]:
    """Files of weights in torch's folder of checkpoints, downloaded if they are not there.

    Args:
        urls: where they are published, under names that end in the first digits of their SHA-256.

    Raises:
        PerceptualError: files are missing and cannot be downloaded, or one is damaged.
    """
    import torch

    folder = Path(torch.hub.get_dir()) / "checkpoints"
    paths, missing = [], []
    for url in urls:
        path = folder / url.rpartition("/")[2]
        paths.append(path)
        try:
            if not path.exists():
                folder.mkdir(parents=True, exist_ok=True)
                torch.hub.download_url_to_file(url, str(path), _digits(path))
        except (OSError, RuntimeError) as error:  # No network, or another hash.
            missing.append(f"\n  {url}\n    to {path} ({error})")
    if missing:
        raise PerceptualError(
            f"weights are missing and cannot be downloaded. Copy by hand:{''.join(missing)}"
        )
    for path in paths:
        check_hash(path)
    return paths


def check_hash(path: Path) -> None:
    """Raises PerceptualError unless the file's SHA-256 begins with the digits in its name.

    torch checks it only after a download, and a file that was copied by hand may be cut off.
    """
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if not digest.startswith(_digits(path)):
        raise PerceptualError(
            f"{path} is damaged or another file: its SHA-256 must begin with {_digits(path)}, "
            f"as its name says, got {digest}. Delete it and copy it again"
        )


def _digits(path: Path) -> str:
    return path.stem.rpartition("-")[2]
