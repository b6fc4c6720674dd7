"""No word of the list passes, in whatever disguise; ordinary prompts do."""

from __future__ import annotations

import random
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import yaml

from excise.concepts import load_concept
from excise.prompts import PromptOptions, build_prompts, drop_minor_rows, names_minor
from excise.prompts.safety import minors
from excise.prompts.safety.disguise import LOOKS, SIMILAR, fold, key
from tiny import PROJECT

WANTED = {"en", "de", "fr", "es", "it", "pt", "nl", "pl", "tr", "ru", "uk", "ar", "hi", "zh", "ja", "ko"}
LANGUAGES = minors.languages()
KINDS = ("inside", "begins", "words")
INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff\u00ad\u034f\u180e"


def words(language: str) -> list[str]:
    found = minors.word_list()[language]
    return [w for kind in KINDS for w in found.get(kind) or []]


def latin(word: str) -> bool:
    return word.replace(" ", "").replace("'", "").isascii()


def wide(word: str, draw: random.Random) -> str:
    return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in word)


def squared(word: str, draw: random.Random) -> str:
    start = draw.choice([0x1F130, 0x1F150, 0x1F170, 0x1D400, 0x1D4D0, 0x1D5A0])
    return "".join(chr(start + ord(c) - ord("a")) if "a" <= c <= "z" else c for c in word)


def accented(word: str, draw: random.Random) -> str:
    return "".join(c + draw.choice(["", "\u0301", "\u0308", "\u0323", "\u0336"]) if c.isalpha() else c for c in word)


def invisible(word: str, draw: random.Random) -> str:
    return "".join(c + draw.choice(INVISIBLE) for c in word)


def homoglyphs(word: str, draw: random.Random) -> str:
    """Some letters of other scripts, at least one."""
    swapped = [draw.choice([c, *SIMILAR.get(c, "")]) for c in word]
    return "".join(swapped)


def capital_i(word: str, draw: random.Random) -> str:
    return word.replace("l", "I")


def leet(word: str, draw: random.Random) -> str:
    """Digits and signs for letters, but for one: digits alone are a number."""
    places = [i for i, c in enumerate(word) if c in LOOKS]
    kept = draw.choice(range(len(word)))
    if word[kept] == " " or not word[kept].isalpha():
        return word
    return "".join(
        draw.choice([x for x in LOOKS[c] if not x.isalpha()] or [c]) if i in places and i != kept else c
        for i, c in enumerate(word)
    )


def apart(word: str, draw: random.Random) -> str:
    return draw.choice([" ", ".", "-", "_", " . ", "  ", "/", "·", "\n"]).join(word.replace(" ", ""))


def in_two(word: str, draw: random.Random) -> str:
    bare = word.replace(" ", "")
    at = draw.randrange(1, len(bare)) if len(bare) > 1 else 1
    pieces = [bare[:at], bare[at:]]
    if all(p in minors.ORDINARY for p in map(fold, pieces)) or "" in pieces:
        return word
    return draw.choice([" ", "-", ".", " - "]).join(pieces)


def repeated(word: str, draw: random.Random) -> str:
    return "".join(c * draw.choice([1, 2, 5]) if c.isalpha() else c for c in word)


def starred(word: str, draw: random.Random) -> str:
    places = [i for i, c in enumerate(word) if c in "aeiou"]
    if not places or sum(c.isalpha() for c in word) < 3:
        return word
    at = draw.choice(places)
    return word[:at] + "*" + word[at + 1 :]


def upper(word: str, draw: random.Random) -> str:
    return word.upper()


def plain(word: str, draw: random.Random) -> str:
    return word


FOR_ALL: list[Callable] = [plain, upper, invisible, apart, in_two]
FOR_LATIN: list[Callable] = [wide, squared, accented, homoglyphs, capital_i, leet, repeated, starred]


def seen_through(word: str, disguise: Callable, draw: random.Random) -> str | None:
    """A disguised word in a sentence that passes; None if none does, or if the disguise makes another word of it."""
    hidden = disguise(word, draw)
    if harmless(hidden):
        return None
    for sentence in ("{}", "a photo of {} in a park", "oil painting, ({}), 8k"):
        prompt = sentence.format(hidden)
        if not names_minor(prompt):
            return prompt
    return None


def harmless(word: str) -> bool:
    return fold(word) in {fold(w) for w in minors.word_list()["harmless"]}


def test_the_list_is_in_many_languages_and_belongs_to_the_code():
    assert set(LANGUAGES) >= WANTED
    for language in WANTED:
        assert len(words(language)) >= 15, language
    assert minors.LIST_SHA256 in Path(minors.__file__).read_text()


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("disguise", FOR_ALL, ids=lambda d: d.__name__)
def test_no_word_passes_in_any_disguise(language, disguise):
    draw = random.Random(f"{language}/{disguise.__name__}")
    passed = [p for w in words(language) if (p := seen_through(w, disguise, draw))]
    assert not passed


@pytest.mark.parametrize("disguise", FOR_LATIN, ids=lambda d: d.__name__)
def test_no_latin_word_passes_with_other_letters(disguise):
    draw = random.Random(disguise.__name__)
    passed = []
    for language in LANGUAGES:
        for word in filter(latin, words(language)):
            for _ in range(2):
                if found := seen_through(word, disguise, draw):
                    passed.append(found)
    assert not passed


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_ending_makes_a_word_pass(language):
    found = minors.word_list()[language]
    passed = [
        full
        for kind in KINDS
        for word in found.get(kind) or []
        for ending in found.get("endings") or []
        if not names_minor(full := f"a picture of {word}{ending} somewhere")
    ]
    assert not passed


def test_disguises_are_seen_through_together():
    """Two at once, for the words that matter most."""
    draw, passed = random.Random(7), []
    for word in ("girl", "child", "children", "boy", "kid", "toddler", "teenager", "infant", "schoolgirl", "minor"):
        for first in (homoglyphs, repeated, accented, upper):
            for second in (invisible, apart, wide):
                hidden = second(first(word, draw), draw)
                if not names_minor(f"a photo of {hidden}"):
                    passed.append((first.__name__, second.__name__, hidden))
    assert not passed


NUMBERS = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"


@pytest.mark.parametrize(
    "pattern", ["{} years old", "{}-year-old", "{} yrs old", "{} y.o.", "aged {}", "age: {}", "age of {}"]
)
def test_ages_below_eighteen_are_found_in_digits_and_words(pattern):
    for number, word in enumerate(NUMBERS.split(), 1):
        for spelled in (
            str(number),
            word,
            wide(str(number), random.Random(0)),
            word.upper(),
            invisible(word, random.Random(0)),
        ):
            assert names_minor(f"a portrait, {pattern.format(spelled)}, outdoors"), spelled
    for number in ("18", "19", "21", "30", "45", "112", "eighteen", "nineteen", "forty"):
        assert not names_minor(f"a portrait, {pattern.format(number)}, outdoors"), number


@pytest.mark.parametrize(
    "prompt",
    [
        *(
            "12yo",
            "12 y/o",
            "12yrs old",
            "U18",
            "u-16",
            "under 18",
            "under-18s",
            "below 16",
            "younger than 12",
            "5th grader",
        ),
        *("12 Jahre alt", "zwölfjährig", "im Alter von 9", "12 ans", "douze ans", "âgée de 9", "12 años", "doce años"),
        *(
            "menor de 18",
            "12 anni",
            "dodici anni",
            "12 anos",
            "doze anos",
            "12 jaar",
            "twaalf jaar",
            "12 lat",
            "dwunastoletnia",
        ),
        *(
            "12 yaşında",
            "on iki yaşında",
            "12 лет",
            "двенадцатилетняя",
            "12 років",
            "дванадцять років",
            "12 साल",
            "١٢ سنة",
        ),
        *(
            "12岁",
            "十二歲",
            "12歳",
            "12살",
            "12 세",
            "six months old",
            "3 weeks old",
            "l2yo, 1girl",
            "twe1ve years old",
        ),
    ],
)
def test_ages_of_many_languages_are_found(prompt):
    assert names_minor(prompt)


def test_ages_that_are_no_whole_number_of_years_are_found():
    found = """24 months old|a 20-month-old|twenty months old|twenty four months old|30 weeks old|90 days of age
nine and a half years old|9 and a half years old|9½ years old|9.5 years old|under eighteen|below eighteen
under the age of 18|not yet eighteen|aged about 9|aged around nine|aged between 8 and 12
between the ages of 8 and 12|age group 8-12|grade 5|5th grade|fifth grade|in grade five|15F|a portrait, 15f, outdoors
15/f|16M|24 Monate alt|24 месяцев|cutebaby|littlebabies
a model, age (12)|aged 12|aged (about) 12|under (18)|12 (years old)|twelve (years old)|12+ years old
age <12|**Age:** 12|grade (5)|aged 13¾|aged 9½|age 5½|under 5½|ages 2½ to 4|12yearold|12yearsold
12-yearold|12yrold|twelveyearold|tenyearold|a year old|a month old|a few months old|several weeks old
half a year old|a year and a half old|12 hours old|0 years old|0-year-old|aged 0|9.0 years old|18 mths old
six and half years old|five and three-quarter years old|6 & a half years old|aged exactly 12
aged at least 12|aged over 12|aged just over 12|aged somewhere around 12|aged c. 12
aged anywhere between 10 and 12|12-ish years old|under-fives|under fives|under-sixteens|under-eighteens
under 3s|younger than 3|younger than four|12 and under|twelve and younger|12 or under|almost 18
nearly eighteen years old|not yet turned 18|not even eighteen|before her 18th birthday|turning 18
under-aged|under aged|under legal age|below the age of consent|her age is 12|she is 12|he is fifteen
turned 12|turns twelve|12th birthday|her tenth birthday|sweet 16|looks 12|looks about twelve
appears to be twelve|of twelve summers|15 female|15 (f)|grades 3-5|grades K-5|sixth-former
secondary school|boarding school|pre-K|preemie|newly-born|youngun|pageboy|newsboy|12 år|12 let|בת 12
อายุ 12 ปี"""
    assert [p for p in found.replace("\n", "|").split("|") if not names_minor(p)] == []


@pytest.mark.parametrize(
    "prompt",
    [
        *(
            "1girl",
            "2boys",
            "littlegirl",
            "schoolgirls",
            "GIRL",
            "girI",
            "gi\u00adrl",
            "g\u0456rl",
            "ch!ld",
            "k1dz",
            "b0y",
            "8oy",
        ),
        *(
            "chi ld",
            "gi rl",
            "te-en",
            "t.o.d.d.l.e.r",
            "g_i_r_l",
            "(girl:1.4)",
            "girl!",
            "\U0001f467",
            "\U0001f468\u200d\U0001f467",
        ),
        *(
            "girlll",
            "boyyyy",
            "c h i l d r e n",
            "ɢɪʀʟ",
            "ｇｉｒｌ",
            "\U0001f176\U0001f178\U0001f181\U0001f17b",
            "\ua7acIRL",
        ),
        *(
            "rninor",
            "chilcl",
            "g*rl",
            "ch*ld",
            "b*y",
            "女-孩",
            "女 孩",
            "小\u200b孩",
            "ショタ",
            "ｼｮﾀ",
            "дeвoчкa",
            "РЕБЁНОК",
            "أَطْفَال",
            "طفـــل",
        ),
        *("cherubs and putti", "young-looking", "sweet sixteen", "in school uniform", "baby face"),
    ],
)
def test_spellings_that_were_thought_of_by_hand(prompt):
    assert names_minor(prompt)


HARMLESS = """men in a boat|shoot a ball into the basket|put to the test|3 an hour|contrails in the sky
it fills the room
a church by a lake|a house in the snow|a castle on a hill at night|an old man with a beard
an elderly woman in a garden|a photo of a dog on the beach|two cats between two trees|a red car
a bus in the rain|nineteen fifties diner|a canteen in a factory|a kidney shaped pool|boycott poster, 1970s
a cowboy on a horse|a playboy mansion|a bellboy cap on a table|boeing 707 in flight|a big iris in a vase
nilgiri hills at dawn|a boxer in a ring|5 on 5 basketball|the game is on|she's on the phone|it's on the table
soon it will rain|a toot of the horn|polka dots on a dress|much ado about nothing|infantry monument
ursa minor in the night sky|a vase with flowers|an orchard in spring|a wheat field with crows
the tower of babylon|art in fantasy style|an aged elf in a forest|a kind smile|what kind of bird is this
a barn in autumn|mice in a barn|a marmot on a rock|camembert on a plate|november rain|members of a choir
embedded screen in a wall|the meninges, anatomical drawing|a gutter after rain|gaming chair|a corkscrew
8k id photo of a woman|a woman in a chic suit|a portrait of a lady|an android|a gentleman in a top hat
a nude adult person|a surfer with long hair|a maharaja|a sikh with a turban|a bald man|a man with red hair
a grandmother knitting|grandpa in a chair|a plate with broccoli|3 penguins on ice|13 sheep|a 40 year old man
an eighteen year old car|aged 45|18 years old|a 100 year old oak|2.5d render|4k wallpaper|35mm film, f/1.8
iso 100|8 bit pixel art|route 66|a b-52 bomber|r2d2|3d model of a chair|mp3 player|under two umbrellas
below the bridge|turning left|a street in the style of Van Gogh|by Vincent van Gogh|after Claude Monet
a sailboat at sunset|an airplane above clouds|a helicopter|a locomotive|a violin|a pizza with olives
a strawberry|an alarm clock|Jan Steen, the merry family|captain on a ship|ladder against a wall
lady with an ermine|glass on a table|a total eclipse|minority of one|minoan fresco|a sonic boom|SONIC BOOM
LONDON IN THE RAIN|a song|a sonata|a soldier|a seagull|a lotus|steampunk machine|steel bridge
sixteen candles on a cake|seventeen swans|steenbok|eighteen holes of golf|fifteen balloons
Roman bust of an old emperor|a madam at a desk|a fellow at the bar|a shaven head|a maharani|a house of worship
a summit|ein altes Haus|eine Kirche am See|une église en hiver|une femme âgée|una iglesia blanca|un perro negro
una chiesa antica|um gato preto|een oude kerk|stary kościół|eski bir kilise|старая церковь|стара церква
كنيسة قديمة|एक पुराना घर|古老的教堂|古い教会|오래된 교회|아이스크림|アイスクリーム|千と千尋|することもある
aged about 40|18F|25f|f/8, 50mm|a 10m tall statue|a babylonian gate|an F15 jet|age of empires|upgrade 2
cinematic color grade, 8k|Cinematic, color grade, 4K, ultra detailed|professional color grade, 3d
woman turning around, 8k|from below, 8k|middle ages, 8k|ice age, 4k|stone age, 3d|16 f-stops|14 f/2.8
not quite six feet tall|not yet six in the morning|turning around one corner|turning around 3 times
19½ years old|a 40 year old man|2,000 years old|aged 45|half a dozen eggs|he is one of a kind
25 years old (approx)|looks like one|a half moon, 19 years ago|it looks amazing
2 0 years old
卡路里|桌子上的苹果|красная машина|червона троянда"""


def test_ordinary_prompts_pass():
    prompts = HARMLESS.replace("\n", "|").split("|")
    assert len(prompts) >= 150
    assert [p for p in prompts if names_minor(p)] == []


def test_a_word_is_found_wherever_it_stands_in_a_long_text_without_blanks():
    for at in range(0, 400, 7):
        for word in ("girls", "schoolkids", "gggiiirrrlllsss"):
            assert names_minor("xq" * (at // 2) + word + "xq" * 200), (at, word)
    assert not names_minor("xq" * 400)
    # nor does it help to repeat letters: no run is longer than a few
    assert names_minor("g" * 50 + "i" * 9000 + "rl") and not names_minor("!" * 9000)


def every_word(value) -> list[str]:
    if isinstance(value, dict):
        return [w for k, v in value.items() for w in [str(k), *every_word(v)]]
    return (
        [w for v in value for w in every_word(v)]
        if isinstance(value, list)
        else [value]
        if isinstance(value, str)
        else []
    )


def test_every_word_of_the_embedded_world_and_of_the_concepts_passes():
    world = yaml.safe_load((PROJECT / "conf/base/pretrain_emoji64/parameters_world.yml").read_text())
    for word in every_word(world):
        assert not names_minor(word), word
    for path in (PROJECT / "conf").glob("*/concepts/*.yml"):
        for word in every_word(yaml.safe_load(path.read_text())):
            assert not names_minor(word), (path.name, word)
    for path in (PROJECT / "conf/base/concepts").glob("*.yml"):
        concept = load_concept(path.stem, yaml.safe_load(path.read_text()))
        _, counts = build_prompts(concept, PromptOptions(test=60))
        assert counts["minors"] == 0


def test_a_harmless_word_is_none_of_the_list():
    every = {key(fold(w).replace(" ", "")) for language in LANGUAGES for w in words(language)}
    assert not {w for w in minors.word_list()["harmless"] if fold(w) in every}


def test_no_reading_makes_a_number_a_word():
    assert not any(names_minor(f"picture {n} of 9999") for n in range(300, 2000))


@pytest.mark.parametrize("prompt", ["", " ", "!!!", "*", "\x00", "\ud800", None, 3.5, "íííí", "()" * 50])
def test_anything_can_be_asked(prompt):
    assert names_minor(prompt) is False


def test_rows_are_dropped_whatever_else_they_hold():
    table = pd.DataFrame({"prompt": ["a church", "a g1rl", "a tree", "\U0001f466"], "x": [1, 2, 3, 4]})
    kept, lost = drop_minor_rows(table)
    assert kept["x"].tolist() == [1, 3] and lost == 2


def test_an_edited_list_is_refused_until_its_hash_is_renewed(tmp_path, monkeypatch):
    edited = tmp_path / "minors.yml"
    edited.write_text(minors.LIST.read_text() + "\n# one word less\n")
    monkeypatch.setattr(minors, "LIST", edited)
    minors.word_list.cache_clear()
    try:
        with pytest.raises(RuntimeError, match="LIST_SHA256"):
            minors.word_list()
    finally:
        monkeypatch.undo()
        minors.word_list.cache_clear()
    assert minors.word_list()


def test_the_folded_text_has_no_accents_and_no_capitals():
    for text in ("Ángel ÇÖ", "ＷＩＤＥ", "ﬁsh", "ſtone", "İstanbul", "Ελλάδα"):
        folded = fold(text)
        assert not any(unicodedata.combining(c) for c in folded) and folded == folded.casefold()
    assert re.fullmatch(r"[a-zí ]+", fold("Ángel ÇÖ IS"))
