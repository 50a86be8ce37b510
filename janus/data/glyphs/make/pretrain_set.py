"""The pretraining set of the bundled backbone: glyphs that the bench does not contain.

The bench must be new to the backbone, as CIFAR-100 is to ImageNet weights. So none of these
characters is a class of the bench or looks like one in some common font, and no font family of the
bench's test images is used. `HOMOGLYPHS` lists the characters that look alike; a test compares.
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
"""Class of the bench -> characters that some font draws alike; none of them is pretrained on.

Wider than lists of confusable code points: the italic Cyrillic т looks like m, п like n, and so on.
"""

# Only one case of letters whose cases differ in size only, as in the bench.
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
"""The pretraining classes; `render_characters` leaves out those that too few families can draw."""

LEAST_FAMILIES = 6


def forbidden() -> frozenset[str]:
    """Characters that must not be pretrained on: the bench's classes and what looks like them."""
    return frozenset(CLASSES) | frozenset("".join(HOMOGLYPHS.values()))


def family_names() -> tuple[str, ...]:
    """Names of the families that draw the pretraining set: those of the bench's train images."""
    return tuple(family.name for family in FAMILIES if family.split == "train")


def render_characters(
    per_class: int, seed: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64], str]:
    """Draw the set (needs the fonts): images [N, 32, 32], labels [N], and the characters used.

    The families of a class are used in turn; N is about `per_class` times the characters. Raises
    DataError if no font can draw them.
    """
    from janus.data.glyphs.make.draw import covering, draw_character, keyed_rng

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
            images.append(draw_character(files[rng.integers(len(files))], character, rng))
            labels.append(len(used))
        used += character
    if not images:
        raise DataError("no font draws the pretraining characters; see 'janus.data.glyphs fonts'")
    return np.stack(images), np.array(labels, dtype=np.int64), used
