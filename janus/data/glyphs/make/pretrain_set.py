"""What the bundled backbone is pretrained on: glyphs that the bench does not contain.

The bench must be new to the backbone, as CIFAR-100 is to ImageNet weights. So the characters here
are other than the bench's, none looks like one of them in some common font, and no font family of
the bench's test side is used. `HOMOGLYPHS` writes the look-alikes down; a test compares the lists.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from janus.data.glyphs.bundle import CLASSES
from janus.data.glyphs.fonts import FAMILIES
from janus.errors import DataError

HOMOGLYPHS: dict[str, str] = {
    "1": "Il|¹ıӀІιΙƖ",
    "2": "²ƻ",
    "3": "³ЗзӠƷʒɜεɛƐЭэ",
    "4": "⁴Чч",
    "5": "⁵Ƽ",
    "6": "⁶бϬ",
    "8": "⁸Ȣȣ",
    "9": "⁹qգ",
    "A": "АΑᴀ",
    "B": "ВвΒβʙ",
    "C": "cСсϹϲ",
    "E": "ЕΕᴇ",
    "F": "Ϝ",
    "G": "Ԍɢ",
    "H": "НнΗʜ",
    "J": "ЈϳĴ",
    "K": "kКкΚκĸ",
    "L": "Ⅼʟ",
    "M": "МмΜᴍ",
    "N": "Νɴ",
    "O": "0oОоΟοό°º○",
    "P": "pРрΡρÞþ",
    "Q": "qԚԛ",
    "S": "sЅѕ",
    "T": "ТтΤτ",
    "U": "uυцսμµ",
    "V": "vνѴѵ",
    "W": "wшѡ",
    "X": "xХхΧχ×",
    "Y": "УуүΥγƔɣ",
    "Z": "zΖ",
    "a": "аαɑª",
    "b": "ЬьƄ",
    "d": "ԁժ",
    "e": "еєҽ℮",
    "f": "ſƒʃ∫",
    "g": "ɡցд",
    "h": "һհ",
    "i": "іι¡ıįịӏìíĭίİ",
    "j": "јϳ",
    "m": "т",
    "n": "ηпո",
    "r": "гᴦɾ",
    "t": "τţ†łŧ",
    "y": "уγɣ",
    "Γ": "Гг",
    "Δ": "△∆▲",
    "Θ": "θϴѲѳӨөƟʘ",
    "Ξ": "≡Ѯ",
    "Σ": "∑Ʃ",
    "Φ": "φϕФфɸ",
    "Ψ": "ψѰѱ",
    "Ω": "\u2126℧",
    "δ": "∂ð",
    "ζ": "ς",
    "π": "Πп∏ϖП",
    "ω": "шѡɯ",
    "*": "∗•⁎",
    "%": "‰‱",
    "+": "†⁺",
    "£": "₤",
    "€": "Єє",
    "/": "⁄∕",
    ":": "∶",
    "<": "‹˂",
    ">": "›˃",
    "=": "═",
    "^": "ˆ",
    "~": "˜∼",
    '"': "“”„″ˮ",
    "©": "Ⓒ®",
    "«": "≪",
    "»": "≫",
    "æ": "ӕÆœ",
}
"""Bench class -> characters that some font draws like it; none of them is pretrained on.

Wider than a list of confusable code points: italic Cyrillic т is an m, п an n, and so on.
"""

# One case only where the two differ by size alone, as in the bench.
_LATIN_CAPITALS = (
    "ÀÁÂÃÄÅÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØÙÚÛÜÝĀĂĄĆĈĊČĎĐĒĔĖĘĚĜĞĠĢĤĦĨĪĬĮĶĹĻĽŁŃŅŇŊŌŎŐŔŖŘŚŜŞŠŢŤŦŨŪŬŮŰŲŴŶŸŹŻŽŒ"
)
_LATIN_SMALL = "àáâãäåèéêëîïñāăąďēĕėęěĝğġĥħĩīĵĺļľńņňŋŕŗřť"
_LATIN_FAR = "ƁƆƊƎƘƝƠƤƬƯƱƳƵǍǏǑǓɐəɔɥɮɰɲʁʇʌʎʔ"
_CYRILLIC = "БДЖИЙЛЦШЩЪЫЮЯЂЉЊЋЏЃЌЎљњћђ"
_GREEK = "ΛΆΈΉΊΌΎΏάέήύώϊϋ"
_MARKS = "™¬¤¦¼½¾¿‡…¢←↑→↓↔≤≥≠≈∞√◊№₫₪₱₹₦₩₮⅓⅔⅛♪♥♦♣♠"

CHARACTERS: tuple[str, ...] = tuple(
    _LATIN_CAPITALS + _LATIN_SMALL + _LATIN_FAR + _CYRILLIC + _GREEK + _MARKS
)
"""The pretraining classes; those that too few families draw are dropped by `render`."""

LEAST_FAMILIES = 6


def forbidden() -> frozenset[str]:
    """Characters the backbone must not have seen: the bench's and their look-alikes."""
    return frozenset(CLASSES) | frozenset("".join(HOMOGLYPHS.values()))


def family_names() -> tuple[str, ...]:
    """Families that draw the pretraining set: those of the bench's train side."""
    return tuple(family.name for family in FAMILIES if family.split == "train")


def render(per_class: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int64], str]:
    """Images [N, 32, 32], labels [N] and the characters used, drawn afresh (needs the fonts).

    Families take turns within a class; N is about `per_class` times the number of characters.
    """
    from janus.data.glyphs.make.draw import covering, draw, keyed_rng

    allowed = tuple(family for family in FAMILIES if family.split == "train")
    images: list[NDArray[np.uint8]] = []
    labels: list[int] = []
    used = ""
    for character in CHARACTERS:
        found = covering(allowed, character)
        if len(found) < LEAST_FAMILIES:
            continue
        turn = keyed_rng("pretrain", seed, character).permutation(len(found))
        for i in range(per_class):
            _, files = found[turn[i % len(found)]]
            rng = keyed_rng("pretrain", seed, character, i)
            images.append(draw(files[rng.integers(len(files))], character, rng))
            labels.append(len(used))
        used += character
    if not images:
        raise DataError("no font draws the pretraining characters; see 'janus.data.glyphs fonts'")
    return np.stack(images), np.array(labels, dtype=np.int64), used
