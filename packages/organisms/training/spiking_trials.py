"""Trials of the spiking organisms' task: the same bytes as probes/spiking-lesions/task.ts makes.

Every trial has its own stream of PCG-XSH-RR 64/32 and takes a fixed number of draws from it, so that all
trials are drawn at once.
"""
import hashlib

import numpy as np

STEPS, EVIDENCE, RESPONSE = 120, 40, 90  # the evidence ends, the response begins
CHANNELS = ["left", "right", "now-left", "now-right", "remember", "report"]
RATES = [(0.30, 0.10), (0.26, 0.14), (0.23, 0.17)]  # of the favoured and of the other side, per step
NOW_RATES = (0.6, 0.1)

M32, MULTIPLIER = np.uint64(0xFFFFFFFF), np.uint64(6364136223846793005)


class Streams:
    """As createRng(seed, stream) of packages/core, for many streams side by side."""

    def __init__(self, seed, streams):
        self.increment = (np.asarray(streams, np.uint64) << np.uint64(1)) | np.uint64(1)
        self.state = np.zeros_like(self.increment)
        self.word()
        self.state = self.state + np.uint64(seed)
        self.word()

    def word(self):
        old = self.state
        self.state = old * MULTIPLIER + self.increment
        xorshifted = (((old >> np.uint64(18)) ^ old) >> np.uint64(27)) & M32
        rotation = old >> np.uint64(59)
        left = (np.uint64(32) - rotation) & np.uint64(31)
        return ((xorshifted >> rotation) | (xorshifted << left)) & M32

    def uniform(self):
        a, b = self.word(), self.word()
        return ((a >> np.uint64(5)) * np.uint64(67108864) + (b >> np.uint64(6))).astype(np.float64) / 9007199254740992.0


def make_trials(n, seed, first=0):
    """Pulses [n, 120, 6] and, per trial, task (0 remember, 1 report), answer (0 left, 1 right), evidence counts, level."""
    with np.errstate(over="ignore"):
        rng = Streams(seed, first + np.arange(n))
        favoured = (rng.uniform() >= 0.5).astype(np.int64)
        level = np.floor(3 * rng.uniform()).astype(np.int64)
        task = (rng.uniform() >= 0.5).astype(np.int64)
        now = (rng.uniform() >= 0.5).astype(np.int64)
        coin = (rng.uniform() >= 0.5).astype(np.int64)
        x = np.zeros((n, STEPS, len(CHANNELS)), np.uint8)
        strong, weak = np.array([r[0] for r in RATES])[level], np.array([r[1] for r in RATES])[level]
        for t in range(EVIDENCE):
            for side in (0, 1):
                x[:, t, side] = rng.uniform() < np.where(favoured == side, strong, weak)
        for t in range(RESPONSE, STEPS):
            for side in (0, 1):
                pulse = rng.uniform() < np.where(now == side, *NOW_RATES)
                x[:, t, 2 + side] = pulse & (task == 1)
            x[:, t, 4] = task == 0
            x[:, t, 5] = task == 1
    count = x[:, :, :2].sum(1, dtype=np.int64)
    for i in np.flatnonzero(count[:, 0] == count[:, 1]):  # a tie: one more pulse where the coin says
        t = np.flatnonzero(x[i, :EVIDENCE, coin[i]] == 0)[-1]
        x[i, t, coin[i]] = 1
        count[i, coin[i]] += 1
    more = (count[:, 1] > count[:, 0]).astype(np.int64)
    return x, {"task": task, "answer": np.where(task == 0, more, now), "more": more, "count": count, "level": level}


def digest(x, labels):
    """SHA-256 of the pulses and the labels, as task.ts has it."""
    rows = np.stack([labels["task"], labels["answer"], labels["more"], labels["level"]], 1).astype(np.uint8)
    return hashlib.sha256(x.tobytes() + rows.tobytes()).hexdigest()


if __name__ == "__main__":
    x, labels = make_trials(50, 7, 3)
    print(digest(x, labels), labels["task"].mean(), labels["answer"].mean(), x.mean())
