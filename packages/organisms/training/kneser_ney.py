"""An interpolated modified Kneser-Ney 5-gram model over token ids below 2048, in numpy.

An n-gram is one integer (11 bits per token, five fit in 55 bits), so counting is sorting.
"""
import numpy as np

BITS, VOCAB, ORDER = 11, 2048, 5


def grams(tokens, n):
    """Every n-gram of the sequence as an integer, oldest token in the highest bits."""
    tokens = tokens.astype(np.int64)
    out = np.zeros(len(tokens) - n + 1, np.int64)
    for i in range(n):
        out = (out << BITS) | tokens[i:len(tokens) - n + 1 + i]
    return out


def lookup(keys, values, query):
    at = np.searchsorted(keys, query)
    at[at == len(keys)] = 0
    return np.where(keys[at] == query, values[at], 0.0)


class KneserNey:
    def __init__(self, tokens):
        self.levels = []
        for n in range(1, ORDER + 1):
            if n == ORDER:
                keys, counts = np.unique(grams(tokens, n), return_counts=True)
            else:
                # below the top: in how many contexts the n-gram has been seen to continue one
                keys, counts = np.unique(np.unique(grams(tokens, n + 1)) & ((1 << BITS * n) - 1), return_counts=True)
            t = [np.sum(counts == k) for k in (1, 2, 3, 4)]
            y = t[0] / (t[0] + 2 * t[1])
            d = np.array([0.0] + [max(0.0, k - (k + 1) * y * t[k] / max(1, t[k - 1])) for k in (1, 2, 3)])
            discount = d[np.minimum(counts, 3)]
            contexts, first = np.unique(keys >> BITS, return_index=True)
            total = np.add.reduceat(counts.astype(float), first)
            held = np.add.reduceat(discount, first)
            self.levels.append((keys, counts - discount, contexts, total, held))

    def probabilities(self, tokens):
        """P(token | up to four tokens before it) for every token but the first four."""
        windows = grams(tokens, ORDER)
        p = np.full(len(windows), 1.0 / VOCAB)
        for n in range(1, ORDER + 1):
            keys, kept, contexts, total, held = self.levels[n - 1]
            gram = windows & ((1 << BITS * n) - 1)
            context = gram >> BITS
            sums = lookup(contexts, total, context)
            known = sums > 0
            safe = np.where(known, sums, 1)
            p = np.where(known, lookup(keys, kept, gram) / safe + lookup(contexts, held, context) / safe * p, p)
        return p


if __name__ == "__main__":  # the probabilities of all continuations of a context sum to one
    rng = np.random.default_rng(0)
    text = rng.zipf(1.3, 200_000) % VOCAB
    model = KneserNey(text)
    for at in (100, 5000):
        rows = np.stack([np.concatenate([text[at:at + 4], [w]]) for w in range(VOCAB)])
        print(sum(float(model.probabilities(r)[0]) for r in rows))
