"""Languages as BCP 47 tags, with what cannot be told called `und`."""

# ruff: noqa: RUF001 - letters that look like others are the subject

from pathlib import Path

import numpy as np
import polars

import gristlm


def test_languages_of_plain_sentences() -> None:
    texts = {
        "en": "The river bends because its outer bank is worn away by the stream.",
        "de": "Der Fluss biegt sich, weil das äußere Ufer vom Strom abgetragen wird.",
        "fr": "La rivière se courbe parce que sa rive extérieure est usée par le courant.",
        "ja": "川が曲がるのは、外側の岸が流れに削られるからです。",
        "zh": "河流弯曲是因为外侧河岸被水流侵蚀。",
        "ru": "Река изгибается, потому что течение размывает её внешний берег.",
        "el": "Ο ποταμός στρέφεται επειδή η εξωτερική όχθη φθείρεται.",
    }
    result = gristlm.identify_language(list(texts.values()))
    assert result.languages == list(texts)
    assert result.confidences.dtype == np.float32
    assert ((result.confidences > 0) & (result.confidences <= 1)).all()


def test_short_sentences_are_told_by_their_small_words() -> None:
    texts = {
        "es": "No se ha podido abrir el archivo",
        "pt": "Não foi possível abrir o arquivo",
        "ca": "No s'ha pogut obrir el fitxer",
        "nl": "Het bestand kan niet worden geopend",
        "da": "Filen kunne ikke åbnes, prøv igen senere",
        "hi": "यह फ़ाइल नहीं खोली जा सकी और कोई कारण नहीं है",
        "mr": "ही फाइल उघडता आली नाही आणि त्याचे कारण माहीत नाही",
        "ne": "यो फाइल खोल्न सकिएन र यसको कारण थाहा भएन",
        "yi": "דער טײַך בייגט זיך ווײַל דער שטראָם שווענקט אַוועק דעם ברעג",
        "he": "הנהר מתפתל משום שהגדה החיצונית שלו נשחקת על ידי הזרם",
        "tg": "Файл кушода намешавад ва сабаби он маълум нест",
        "ky": "Файлды ачуу мүмкүн эмес жана анын себеби белгисиз",
        "gd": "Cha b' urrainn dhuinn am faidhle fhosgladh an-dràsta",
    }
    assert gristlm.identify_language(list(texts.values())).languages == list(texts)


def test_code_and_scraps_get_an_answer_that_fits_them() -> None:
    """Programs are written in English; what says little is answered without conviction."""
    code = Path(np.__file__).read_text()
    assert gristlm.identify_language([code]).languages == ["en"]
    scraps = gristlm.identify_language(["ok", "x = y + 1; for (int i=0;i<n;i++) { a[i]=b[i]; }"])
    assert (scraps.confidences < 0.5).all()


def test_confidences_are_the_share_that_is_right(development_data: Path) -> None:
    rows = polars.read_ndjson(development_data / "text" / "multilingual.jsonl").filter(
        polars.col("language").is_in(["de", "fr", "es", "it", "pt-br", "nl", "pl"])
    )
    texts, labels = [], []
    for text, label in zip(rows["text"], rows["language"], strict=True):
        words = text.split()
        for at in range(0, min(len(words), 2000) - 8, 97):
            texts.append(" ".join(words[at : at + 8]))
            labels.append(label.partition("-")[0])
    found = gristlm.identify_language(texts)
    right = np.array([label == answer for label, answer in zip(labels, found.languages, strict=True)])
    sure = found.confidences > 0.95
    assert right[sure].mean() > right[~sure].mean() + 0.1


def test_what_has_no_letters_is_undetermined() -> None:
    result = gristlm.identify_language(["", "1234 5678", "\n\n", "!?"])
    assert result.languages == ["und"] * 4
    assert result.confidences.tolist() == [0, 0, 0, 0]
    assert gristlm.identify_language([]).languages == []


def test_translated_manuals_are_told_apart(development_data: Path) -> None:
    rows = polars.read_ndjson(development_data / "text" / "multilingual.jsonl").select("text", "language")
    # The manual that is translated throughout; chapters of the other are in English under any label.
    rows = rows.filter(polars.col("language").is_in(["de", "fr", "ja", "zh-cn"]))
    result = gristlm.identify_language(rows["text"], num_threads=2)
    right = sum(label.startswith(found) for label, found in zip(rows["language"], result.languages, strict=True))
    assert right / len(rows) > 0.8
    again = gristlm.identify_language(rows["text"].to_list(), num_threads=1)
    assert again.languages == result.languages
