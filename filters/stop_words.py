"""Function words by language, for the rule that running text holds some of them.

The English list is the paper's (Rae et al. 2021, arXiv:2112.11446, appendix A.1.1). The other lists are
ours: very frequent words that carry grammar and no topic, written as they stand inside a sentence, each among
the 200 commonest of 412 to 500 sentences of its language's news (Leipzig Corpora Collection, the test sentences of
lingua-py), but for the traditional forms of Chinese and twelve words of its classical texts. Two different ones in a
document are asked for, so a list need not be complete; it must hold what any paragraph of the language holds. In
languages written without spaces a word is one character.
"""

_LISTS = {
    "en": "the be to of and that have with",  # Rae et al. 2021, appendix A.1.1
    "ar": "في من على إلى الى أن ان عن مع هذا هذه التي الذي ما لا كان و أو او بين بعد قبل كل",
    "de": "der die das und in zu den mit von ist nicht ein eine auf für im dem sich als auch",
    "es": "de la que el en y a los del se las por un para con no una su al es",
    "fr": "de la le et les des en un une du dans est que pour qui au sur par pas avec",
    "hi": "के में की है और से का को ने पर कि यह इस एक हैं भी नहीं तो था हो जो या ही",
    "it": "di e il la che in un a per è una non del le con i da si sono al dei",
    "ja": "の に は を た が で て と し れ さ い る も な か す ま",
    "pt": "de a o que e do da em um para com não uma os no se na por as ao",
    "ru": "и в не на что с по как это к из у за от но для о же так а",
    "ur": "کے میں کی ہے اور سے کا کو نے پر کہ یہ اس ایک ہیں بھی نہیں تھا جو ہو",
    "zh": "的 了 是 在 不 一 有 我 人 这 這 个 個 上 和 他 之 以 为 為 而 于 於 与 與 也 其 可 无 無 "
    "何 自 此 如 若 莫 未 亦 已 相 来 來",  # the last twelve are those of classical texts
}
STOP_WORDS: dict[str, tuple[str, ...]] = {language: tuple(words.split()) for language, words in _LISTS.items()}
