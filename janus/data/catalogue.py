"""What `python -m janus.data` knows about each bench: where it comes from, and on what terms."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Download:
    """One file that `fetch` may download."""

    url: str
    md5: str
    """Published sum; a file that does not have it is not used."""


@dataclass(frozen=True)
class Origin:
    """A data set's papers."""

    size: str
    licence: str
    how: str
    """How to get it, in one sentence."""
    downloads: tuple[Download, ...] = ()


BUNDLED = Origin("1 MB", "fonts' licences, see janus/data/assets/README.md", "part of the package")
_PILOT = "request or download by hand: the links are in LAMDA-PILOT's README"

ORIGINS: dict[str, Origin] = {
    "glyphs": BUNDLED,
    "glyphs_styles": BUNDLED,
    "fashion": Origin("31 MB", "MIT", "apt-get install dataset-fashion-mnist"),
    "fashion_200": Origin("31 MB", "MIT", "apt-get install dataset-fashion-mnist"),
    "cifar100": Origin(
        "178 MB",
        "none stated",
        "python -m janus.data fetch cifar100",
        (
            Download(
                "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
                "eb9058c3a382ffc7106e4002c42a8d85",
            ),
        ),
    ),
    "imagenet_r": Origin(
        "2.2 GB",
        "MIT for the list; images belong to their makers",
        "python -m janus.data fetch imagenet_r; the two list files imagenet-r_{train,test}.yaml by "
        "hand from utils/splits of github.com/liangyanshuo/InfLoRA",
        (
            Download(
                "https://people.eecs.berkeley.edu/~hendrycks/imagenet-r.tar",
                "a61312130a589d0ca1a8fca1f2bd3337",
            ),
        ),
    ),
    "imagenet_a": Origin("0.7 GB", "MIT for the list", _PILOT),
    "cub200": Origin("1.2 GB", "non-commercial research", _PILOT),
    "vtab": Origin("0.2 GB", "those of its parts", _PILOT),
    "cars": Origin("1.9 GB", "non-commercial research", "by hand: its page is no longer online"),
    "imagenet100": Origin(
        "15 GB", "on request", "by hand, after registering at https://image-net.org/download.php"
    ),
    "core50": Origin("8 GB", "CC BY 4.0", "by hand: https://vlomonaco.github.io/core50"),
    "domainnet": Origin("18 GB", "non-commercial research", "by hand: http://ai.bu.edu/M3SDA"),
    "domainnet_domains": Origin(
        "18 GB", "non-commercial research", "by hand: http://ai.bu.edu/M3SDA"
    ),
    "folder": Origin("yours", "yours", "bench.root=DIR; layouts: docs/benches.md"),
}
