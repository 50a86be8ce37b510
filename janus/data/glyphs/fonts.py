"""The fonts that draw the bundled bench: family, Debian package, files, style, train or test.

The split is by font family: a family and every near copy of it (Liberation Sans is
metric-compatible with Arial, Carlito is Lato, Hack is DejaVu Sans Mono) is either for training or
for testing. Fonts are needed to draw the bench again, never to load it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

FONT_ROOT = Path("/usr/share/fonts")
STYLES: tuple[str, ...] = ("serif", "sans", "mono", "display", "handwriting")

Side = Literal["train", "test"]
SIDES: tuple[Side, ...] = ("train", "test")


@dataclass(frozen=True, kw_only=True, slots=True)
class FontFamily:
    """One typeface design and the files that hold its weights and slants."""

    name: str
    package: str
    pattern: str
    """Path below FONT_ROOT; `{a,b}` stands for alternatives."""
    style: str
    split: Side
    """`test` families draw test images only; `train` families also draw the pretraining set."""
    licence: str
    skip: str = ""
    """Characters that this font draws as another character."""

    def files(self) -> tuple[Path, ...]:
        """The font files, in the order of the pattern."""
        brace = re.search(r"\{(.*?)\}", self.pattern)
        if brace is None:
            return (FONT_ROOT / self.pattern,)
        before, after = self.pattern[: brace.start()], self.pattern[brace.end() :]
        return tuple(FONT_ROOT / f"{before}{part}{after}" for part in brace[1].split(","))


_FOUR = "{Regular,Bold,Italic,BoldItalic}"
_OFL = "OFL-1.1"
_URW = "AGPL-3 with font exception"
_ADF = "GPL-2+ with font exception"
# Nanum Brush Script borrows its Greek and currency signs from a text face, and both Nanum pens
# draw the sharp s as a plain B. Korean and Japanese fonts put a won or yen sign at the backslash.
_NANUM_BORROWED = "\\ΓΔΘΞΣΦΨΩδζλξπσω£€§©¥¶±÷«»ßæ¢"

# (family, package without "fonts-", pattern, licence[, characters to skip])
_Row = tuple[str, ...]

_TRAIN: dict[str, tuple[_Row, ...]] = {
    "serif": (
        ("Liberation Serif", "liberation", f"truetype/liberation/LiberationSerif-{_FOUR}.ttf",
         "GPL-2 with font exception"),
        ("DejaVu Serif", "dejavu-core", "truetype/dejavu/DejaVuSerif{,-Bold}.ttf",
         "Bitstream Vera"),
        ("Linux Libertine", "linuxlibertine",
         "opentype/linux-libertine/LinLibertine_{R,RB,RI,RBI}.otf", _OFL),
        ("Vollkorn", "vollkorn", f"truetype/vollkorn/Vollkorn-{_FOUR}.ttf", _OFL),
        ("C059", "urw-base35", "opentype/urw-base35/C059-{Roman,Bold,Italic,BdIta}.otf", _URW),
        ("URW Bookman", "urw-base35",
         "opentype/urw-base35/URWBookman-{Light,Demi,LightItalic,DemiItalic}.otf", _URW),
        ("P052", "urw-base35", "opentype/urw-base35/P052-{Roman,Bold,Italic,BoldItalic}.otf",
         _URW),
        ("Cardo", "cardo", "truetype/cardo/Cardo{104s,b101,i99}.ttf", _OFL),
        ("CMU Serif", "cmu", "truetype/cmu/cmun{rm,bx,ti,bi}.ttf", _OFL),
        ("Caslon", "georgewilliams",
         "truetype/fonts-georgewilliams/Caslon{Roman,Bold,Italic}.ttf", "OFL-1.1 or BSD-3-clause"),
        ("Charis SIL", "sil-charis", f"truetype/charis/CharisSIL-{_FOUR}.ttf", _OFL),
    ),
    "sans": (
        ("Liberation Sans", "liberation", f"truetype/liberation/LiberationSans-{_FOUR}.ttf",
         "GPL-2 with font exception"),
        ("DejaVu Sans", "dejavu-core", "truetype/dejavu/DejaVuSans{,-Bold}.ttf",
         "Bitstream Vera"),
        ("Open Sans", "open-sans", f"truetype/open-sans/OpenSans-{_FOUR}.ttf", "Apache-2.0"),
        ("Lato", "lato", f"truetype/lato/Lato-{_FOUR}.ttf", _OFL),
        ("Clear Sans", "clear-sans", f"truetype/clear-sans/ClearSans-{_FOUR}.ttf", "Apache-2.0"),
        ("Linux Biolinum", "linuxlibertine",
         "opentype/linux-libertine/LinBiolinum_{R,RB,RI}.otf", _OFL),
        ("URW Gothic", "urw-base35",
         "opentype/urw-base35/URWGothic-{Book,Demi,BookOblique,DemiOblique}.otf", _URW),
        ("Go", "go", "fonts-go/Go-{Regular,Bold,Italic,Bold-Italic}.ttf", "BSD-3-clause"),
        ("Tuffy", "tuffy", "truetype/tuffy/Tuffy{,_Bold,_Italic,_Bold_Italic}.ttf",
         "public domain"),
        ("CMU Sans Serif", "cmu", "truetype/cmu/cmun{ss,sx,si,so}.ttf", _OFL),
        ("Andika", "sil-andika", f"truetype/andika/Andika-{_FOUR}.ttf", _OFL),
    ),
    "mono": (
        ("DejaVu Sans Mono", "dejavu-core", "truetype/dejavu/DejaVuSansMono{,-Bold}.ttf",
         "Bitstream Vera"),
        ("Liberation Mono", "liberation", f"truetype/liberation/LiberationMono-{_FOUR}.ttf",
         "GPL-2 with font exception"),
        ("Nimbus Mono PS", "urw-base35", f"opentype/urw-base35/NimbusMonoPS-{_FOUR}.otf", _URW),
        ("Anonymous Pro", "anonymous-pro",
         "truetype/anonymous-pro/Anonymous Pro{, B, I, BI}.ttf", _OFL),
        ("Fira Code", "firacode", "truetype/firacode/FiraCode-{Light,Regular,Bold}.ttf", _OFL),
        ("Go Mono", "go", "fonts-go/Go-Mono{,-Bold,-Italic,-Bold-Italic}.ttf", "BSD-3-clause"),
        ("CMU Typewriter Text", "cmu", "truetype/cmu/cmun{tt,tb,it,tx}.ttf", _OFL),
        ("Agave", "agave", "truetype/agave/agave-{r,b}-autohinted.ttf", "MIT"),
        ("Fantasque Sans Mono", "fantasque-sans",
         f"opentype/fantasque-sans/Normal/OTF/FantasqueSansMono-{_FOUR}.otf", _OFL),
        ("GWMonospace", "georgewilliams",
         "truetype/fonts-georgewilliams/GWMonospace{,Bold,Oblique}.ttf",
         "OFL-1.1 or BSD-3-clause"),
    ),
    "display": (
        ("Reggae One", "reggae", "truetype/reggae/ReggaeOne-Regular.ttf", _OFL),
        ("Rampart One", "rampart", "truetype/rampart/RampartOne-Regular.ttf", _OFL),
        ("RocknRoll One", "rocknroll", "truetype/rocknroll/RocknRollOne-Regular.ttf", _OFL),
        ("Comfortaa", "comfortaa", "truetype/comfortaa/Comfortaa-{Light,Regular,Bold}.ttf", _OFL),
        ("Jura", "jura", "opentype/jura/Jura-{Light,Regular,Bold}.otf", _OFL),
        ("DotGothic16", "dotgothic16", "truetype/dotgothic16/DotGothic16-Regular.ttf", _OFL),
        ("Cupola", "georgewilliams", "truetype/fonts-georgewilliams/Cupola.ttf",
         "OFL-1.1 or BSD-3-clause"),
        ("Cherry Bomb", "cherrybomb", "opentype/cherrybomb/CherryBomb-Regular.otf", _OFL),
        ("Mekanus ADF", "adf-mekanus", "truetype/adf/MekanusADFStd-{Regular,Bold}.otf", _ADF),
        ("Oldania ADF", "adf-oldania", "truetype/adf/OldaniaADFStd-{Regular,Bold}.otf", _ADF),
        ("Klaudia", "klaudia-berenika", "truetype/klaudia-berenika/Klaudia{,-Bold}.ttf", _OFL),
        ("League Spartan", "league-spartan",
         "opentype/league-spartan/LeagueSpartan-{Light,Bold,Black}.otf", _OFL),
        ("Dosis", "dosis", "opentype/dosis/Dosis-{Light,Medium,ExtraBold}.otf", _OFL),
        ("Blankenburg", "blankenburg", "truetype/blankenburg/Blankenburg_UNZ1A.ttf", _OFL),
    ),
    "handwriting": (
        ("YOzFont Antique", "yozvox-yozfont-antique",
         "truetype/yozvox-yozfont/YOz{RA_,BA_,RA_i}.ttf", _OFL),
        ("SetoFont", "seto", "truetype/seto/setofont.ttf", _OFL, "\\"),
        ("Nanum Barun Pen", "nanum-extra", "truetype/nanum/NanumBarunpen{R,B}.ttf", _OFL,
         "\\"),
        ("Nanum Pen Script", "nanum-extra", "truetype/nanum/NanumPen.ttf", _OFL, "ß\\"),
        ("Nanum Brush Script", "nanum-extra", "truetype/nanum/NanumBrush.ttf", _OFL,
         _NANUM_BORROWED),
        ("Comic Neue", "comic-neue",
         "opentype/comic-neue/ComicNeue-{Light,Regular,Bold,Italic}.otf", _OFL),
        ("DkgHandwriting", "dkg-handwriting", "truetype/fifthhorseman/dkg{,Bd}.ttf",
         "GPL-3+ and OFL-1.1"),
        ("Dancing Script", "dancingscript",
         "opentype/dancingscript/DancingScript-{Regular,Bold}.otf", _OFL),
        ("Purisa", "tlwg-purisa-ttf", "truetype/tlwg/Purisa{,-Bold,-Oblique}.ttf",
         "GPL-2+ with font exception"),
        ("Yusei Magic", "yusei-magic", "truetype/yusei-magic/YuseiMagic-Regular.ttf", _OFL),
        ("StayPuft", "staypuft", "truetype/staypuft/StayPuft.ttf", "LGPL-2+"),
        ("Delphine", "sjfonts", "truetype/sjfonts/Delphine.ttf", "GPL-2 with font exception"),
        ("Breip", "breip", "truetype/breip/Breip.ttf", "OFL-1.0"),
        ("Kristi", "kristi", "truetype/kristi/Kristi.ttf", _OFL, "§"),
        ("Leckerli One", "leckerli-one", "truetype/leckerli-one/LeckerliOne-Regular.ttf", _OFL),
    ),
}  # fmt: skip

_TEST: dict[str, tuple[_Row, ...]] = {
    "serif": (
        ("Noto Serif", "noto-core", f"truetype/noto/NotoSerif-{_FOUR}.ttf", _OFL),
        ("Gentium Plus", "sil-gentiumplus", f"truetype/gentiumplus/GentiumPlus-{_FOUR}.ttf", _OFL),
        ("Old Standard TT", "oldstandard",
         "truetype/fonts-oldstandard/OldStandard-{Regular,Bold,Italic}.ttf", "OFL-1.0"),
        ("EB Garamond", "ebgaramond", "opentype/ebgaramond/EBGaramond12-{Regular,Italic}.otf",
         _OFL),
    ),
    "sans": (
        ("Roboto", "roboto-unhinted",
         f"truetype/roboto/unhinted/RobotoTTF/Roboto-{_FOUR}.ttf", "Apache-2.0"),
        ("Cantarell", "cantarell", "opentype/cantarell/Cantarell-{Regular,Bold}.otf", _OFL),
        ("Manrope", "manrope", "truetype/manrope/Manrope-{Light,Regular,Bold}.ttf", _OFL),
        ("GFS Neohellenic", "gfs-neohellenic",
         "opentype/neohellenic/GFSNeohellenic{,Bold,It}.otf", _OFL),
    ),
    "mono": (
        ("JetBrains Mono", "jetbrains-mono",
         f"truetype/jetbrains-mono/JetBrainsMono-{_FOUR}.ttf", "Apache-2.0"),
        ("mononoki", "mononoki", "truetype/mononoki/mononoki-{Regular,Bold,Italic}.ttf", _OFL),
        ("IBM 3270", "3270", "truetype/3270/3270-Regular.ttf", "BSD-3-clause or OFL-1.1"),
        ("monofur", "monofur", "truetype/monofur/monof{55,56}.ttf", _OFL),
    ),
    "display": (
        ("Stick", "stick", "truetype/stick/Stick-Regular.ttf", _OFL),
        ("eurofurence", "eurofurence", "truetype/eurofurence/eurof{55,75}.ttf", _OFL),
        ("Play", "play", "truetype/play/Play-{Regular,Bold}.ttf", _OFL),
        ("okolaks", "okolaks", "truetype/okolaks/okolaks{Regular,Bold}.ttf", _OFL),
        ("Quicksand", "quicksand", "truetype/quicksand/Quicksand-{Regular,Bold}.ttf", _OFL),
    ),
    "handwriting": (
        ("Klee One", "klee", "truetype/klee/KleeOne-{Regular,SemiBold}.ttf", _OFL),
        ("Z003", "urw-base35", "opentype/urw-base35/Z003-MediumItalic.otf", _URW),
        ("Chilanka", "smc-chilanka", "opentype/malayalam/Chilanka-Regular.otf", _OFL),
        ("Kaushan Script", "kaushanscript", "opentype/kaushanscript/KaushanScript-Regular.otf",
         _OFL),
        ("Steve", "sjfonts", "truetype/sjfonts/SteveHand.ttf", "GPL-2 with font exception"),
    ),
}  # fmt: skip


def _family(row: _Row, style: str, split: Side) -> FontFamily:
    name, package, pattern, licence, *skip = row
    return FontFamily(
        name=name,
        package=f"fonts-{package}",
        pattern=pattern,
        style=style,
        split=split,
        licence=licence,
        skip="".join(skip),
    )


FAMILIES: tuple[FontFamily, ...] = tuple(
    _family(row, style, split)
    for split in SIDES
    for style in STYLES
    for row in (_TRAIN if split == "train" else _TEST)[style]
)


def families(style: str, split: str) -> tuple[FontFamily, ...]:
    """The families of one style for `split` (train or test)."""
    return tuple(f for f in FAMILIES if f.style == style and f.split == split)


def missing_files() -> tuple[Path, ...]:
    """Font files that are missing on this machine; empty if the bench can be drawn again."""
    return tuple(p for family in FAMILIES for p in family.files() if not p.is_file())


def install_line() -> str:
    """The apt-get command that installs the packages of all fonts."""
    packages = sorted({family.package for family in FAMILIES})
    return "apt-get install --no-install-recommends " + " ".join(packages)


def markdown_table() -> str:
    """The families as a Markdown table, for the README of the assets."""
    head = "| family | style | split | files | package | licence |\n|---|---|---|---|---|---|"
    rows = [
        f"| {f.name} | {f.style} | {f.split} | {len(f.files())} | `{f.package}` | {f.licence} |"
        for f in FAMILIES
    ]
    return "\n".join([head, *rows])
