"""Finds the topics of a collection of documents: latent Dirichlet allocation."""

from .documents import read_documents, words_of
from .errors import InputError, TooLargeError
from .model import topic_words
from .stopwords import STOP_WORDS

WORDS_MAX = 2_000_000  # some minutes of sampling
DEFAULT_SEED = 37  # the one that finds the grouping printed in the platform's user guide
ITERATIONS = {"fast": 50, "balanced": 100, "quality": 300}

# Option: default, smallest, largest, and older spellings of its name.
NUMBERS = {
    "numTopics": (4, 1, 200, ()),
    "wordsPerTopic": (8, 1, 1000, ("numWords",)),
    "iterations": (ITERATIONS["balanced"], 1, 5000, ("numIterations",)),
    "seed": (DEFAULT_SEED, 0, 2**63 - 1, ()),
}


def apply(input):
    options = _gather(input)
    source = _pick(options, "docsList", ("docsFile", "docs"))
    if source is None:
        raise InputError("docsList is missing: a list of strings, a data URI or a URL")
    numbers = _numbers(options)
    stop_words = _stop_words(options)

    documents = [words_of(document, stop_words) for document in read_documents(source)]
    documents = [words for words in documents if words]
    if not documents:
        raise InputError("docsList holds no words beside stop words and numbers")
    if sum(map(len, documents)) > WORDS_MAX:
        raise TooLargeError(f"docsList holds more than {WORDS_MAX} words beside stop words")

    topics = topic_words(
        documents,
        topics=numbers["numTopics"],
        iterations=numbers["iterations"],
        seed=numbers["seed"],
    )
    return [dict(list(t.items())[: numbers["wordsPerTopic"]]) for t in topics if t]


def _gather(value):
    """Bring all accepted forms of input into one object of options."""
    if isinstance(value, (list, str)):
        return {"docsList": value}
    if not isinstance(value, dict):
        raise InputError("expected an object with the member docsList")
    custom = value.get("customSettings") or {}
    if not isinstance(custom, dict):
        raise InputError("customSettings must be an object")
    return {**custom, **value}


def _pick(options, name, older_names):
    for spelling in (name, *older_names):
        if options.get(spelling) is not None:
            return options[spelling]
    return None


def _numbers(options):
    mode = options.get("mode") or "balanced"
    if not isinstance(mode, str) or mode not in ITERATIONS:
        raise InputError(f"mode must be one of {', '.join(ITERATIONS)}, not {mode!r}")
    numbers = {}
    for name, (default, smallest, largest, older_names) in NUMBERS.items():
        number = _pick(options, name, older_names)
        if number is None:
            number = ITERATIONS[mode] if name == "iterations" else default
        if isinstance(number, bool) or not isinstance(number, int):
            raise InputError(f"{name} must be a whole number, not {number!r}")
        if not smallest <= number <= largest:
            raise InputError(f"{name} must be between {smallest} and {largest}, not {number}")
        numbers[name] = number
    return numbers


def _stop_words(options):
    extra = _pick(options, "stopWords", ("stopWordsList", "stopWordList"))
    if extra is None:
        return STOP_WORDS
    if not isinstance(extra, list) or not all(isinstance(word, str) for word in extra):
        raise InputError("stopWords must be a list of strings")
    return STOP_WORDS | {word.lower() for word in extra}
