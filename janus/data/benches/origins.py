"""The origin of each bench's images: size, licence, how to get them, expected number of images.

Every bench of `janus/conf/bench` has an entry in `ORIGINS`: `python -m janus.data list` prints it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Download:
    """One file that `fetch` may download."""

    url: str
    md5: str
    """Published checksum; a file with another one is refused."""


@dataclass(frozen=True)
class Origin:
    """Where the images of a data set come from."""

    size: str
    licence: str
    how: str
    """How to get it, in one sentence."""
    downloads: tuple[Download, ...] = ()
    counts: tuple[int, int] | None = None
    """Numbers of training and test images in the published split."""
    checked: bool = True
    """Whether `counts` were read in a source, not written from memory."""

    def compare(self, train: int, test: int) -> str:
        """A line for `check` if the numbers differ from the published split; '' if they agree."""
        if self.counts is None or self.counts == (train, test):
            return ""
        doubt = "" if self.checked else " (from memory, unchecked)"
        published = " / ".join(f"{n:,}" for n in self.counts)
        return (
            f"NOT the published {published} images{doubt}: figures cannot stand beside published "
            "ones\n"
        )


BUNDLED = Origin("1 MB", "fonts' licences, see janus/data/assets/README.md", "part of the package")
FASHION = Origin("31 MB", "MIT", "apt-get install dataset-fashion-mnist", counts=(60_000, 10_000))
_PILOT = "request or download by hand: the links are in LAMDA-PILOT's README"

CIFAR100 = Origin(
    "178 MB",
    "none stated",
    "python -m janus.data fetch cifar100",
    (
        Download(
            "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
            "eb9058c3a382ffc7106e4002c42a8d85",
        ),
    ),
    counts=(50_000, 10_000),
)

ORIGINS: dict[str, Origin] = {
    "glyphs": BUNDLED,
    "glyphs_styles": BUNDLED,
    "renditions": BUNDLED,
    "fashion": FASHION,
    "fashion_200": FASHION,
    "cifar100": CIFAR100,
    "cifar100_small": replace(CIFAR100, counts=None),  # fewer than published, on purpose
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
        counts=(24_000, 6_000),
    ),
    "imagenet_a": Origin(
        "0.7 GB", "MIT for the list", _PILOT, counts=(5_981, 1_519), checked=False
    ),
    "cub200": Origin(
        "1.2 GB", "non-commercial research", _PILOT, counts=(9_430, 2_358), checked=False
    ),
    "vtab": Origin("0.2 GB", "those of its parts", _PILOT, counts=(1_796, 8_619), checked=False),
    "cars": Origin(
        "1.9 GB",
        "non-commercial research",
        "by hand: its page is no longer online",
        counts=(8_144, 8_041),
        checked=False,
    ),
    "imagenet100": Origin(
        "15 GB", "on request", "by hand, after registering at https://image-net.org/download.php"
    ),
    "core50": Origin(
        "8 GB",
        "CC BY 4.0",
        "by hand: https://vlomonaco.github.io/core50",
        counts=(119_894, 44_972),
    ),
    "domainnet": Origin("18 GB", "non-commercial research", "by hand: http://ai.bu.edu/M3SDA"),
    "domainnet_domains": Origin(
        "18 GB",
        "non-commercial research",
        "by hand: http://ai.bu.edu/M3SDA",
        counts=(409_832, 176_743),
    ),
    "folder": Origin("yours", "yours", "give bench.root=DIR; layouts: docs/benches.md"),
}
