"""
Latent Dirichlet allocation by collapsed Gibbs sampling.

Every document is a mixture of topics, every topic a distribution over words. The sampler walks
over all words of all documents again and again and draws for each occurrence a topic from
p(topic | all other assignments), which is proportional to

    (occurrences of the word in the topic + BETA) / (words in the topic + vocabulary * BETA)
    * (words of the document in the topic + ALPHA)

Small texts are sampled one word at a time. Larger ones in blocks of words that do not see each
other's draws until the block is done: much faster, and as good in practice.

Sources: Griffiths and Steyvers, "Finding scientific topics", PNAS 101 (2004);
Newman et al., "Distributed algorithms for topic models", JMLR 10 (2009).
"""

import numpy as np

ALPHA = 1.0  # documents may mix topics freely
BETA = 0.01  # a word belongs to few topics
BLOCKS = 64  # per sweep; texts of up to so many words are sampled exactly


def topic_words(documents, *, topics, iterations, seed):
    """
    Fit a model and count, per topic, how many occurrences of which word it explains.

    Args:
        documents: Lists of words. Their order does not matter.
        topics: Number of topics.
        iterations: Sweeps over all words.
        seed: The same documents and the same seed give the same topics.

    Returns:
        One dictionary per topic, most frequent words first. Summed over all topics, the counts
        are those of the documents.
    """
    documents = sorted(documents)
    vocabulary = sorted({word for document in documents for word in document})
    counts = _sample(documents, vocabulary, topics, iterations, np.random.default_rng(seed))
    return [
        {vocabulary[i]: int(column[i]) for i in np.argsort(-column, kind="stable") if column[i] > 0}
        for column in counts.T
    ]


def _sample(documents, vocabulary, topics, iterations, random):
    index = {word: i for i, word in enumerate(vocabulary)}
    lengths = [len(document) for document in documents]
    order = random.permutation(sum(lengths))
    words = np.array([index[w] for d in documents for w in d], dtype=np.int64)[order]
    owners = np.repeat(np.arange(len(documents)), lengths)[order]
    drawn = random.integers(topics, size=len(words))

    by_word = np.zeros((len(vocabulary), topics))
    by_document = np.zeros((len(documents), topics))
    np.add.at(by_word, (words, drawn), 1)
    np.add.at(by_document, (owners, drawn), 1)
    by_topic = by_word.sum(axis=0)

    block = max(1, -(-len(words) // BLOCKS))
    for _ in range(iterations):
        for start in range(0, len(words), block):
            here = slice(start, start + block)
            word, owner, old = words[here], owners[here], drawn[here]
            own = np.eye(topics)[old]  # a word's own assignment does not count as evidence
            likelihood = (by_word[word] - own + BETA) / (by_topic - own + len(vocabulary) * BETA)
            cumulative = np.cumsum(likelihood * (by_document[owner] - own + ALPHA), axis=1)
            threshold = random.random((len(word), 1)) * cumulative[:, -1:]
            new = (cumulative <= threshold).sum(axis=1).clip(max=topics - 1)

            np.add.at(by_word, (word, old), -1)
            np.add.at(by_word, (word, new), 1)
            np.add.at(by_document, (owner, old), -1)
            np.add.at(by_document, (owner, new), 1)
            by_topic += np.bincount(new, minlength=topics) - np.bincount(old, minlength=topics)
            drawn[here] = new
    return by_word
