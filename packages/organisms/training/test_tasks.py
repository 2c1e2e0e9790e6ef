"""python -m unittest test_tasks   (in this folder; needs no packages)"""
import itertools
import random
import unittest

import tasks
from grammar import PHENOMENA


class Generator(unittest.TestCase):
    def test_pairs_have_equal_numbers_of_words_and_no_duplicates(self):
        for name in PHENOMENA:
            pairs = tasks.minimal_pairs(name)
            self.assertEqual(len({p["sentence_good"] for p in pairs}), 100, name)
            for p in pairs:
                self.assertEqual(len(p["sentence_good"].split()), len(p["sentence_bad"].split()), p)

    def test_no_good_sentence_is_the_bad_one_of_another_pair(self):
        pairs = [p for name in PHENOMENA for p in tasks.minimal_pairs(name)]
        self.assertFalse({p["sentence_good"] for p in pairs} & {p["sentence_bad"] for p in pairs})

    def test_control_items_are_right(self):
        for item in tasks.control_items("sums"):
            self.assertEqual(eval(item["prompt"][:-1]), int(item["good"][:-1]))
        for task in tasks.TASKS:
            items = tasks.control_items(task)
            self.assertGreaterEqual(len(items), 100, task)
            for i in items:
                self.assertNotEqual(i["good"], i["bad"])
                self.assertEqual(len(i["good"].split()), len(i["bad"].split()), i)
        r = random.Random(1)
        for _ in range(200):
            prompt, good, _, _ = tasks.brackets(r)
            stack = []
            for c in (prompt.split(": ")[1] + good[:-1]).split():
                if c in "([{<":
                    stack.append(c)
                else:
                    self.assertEqual("([{<".index(stack.pop()), ")]}>".index(c))
            self.assertFalse(stack)

    def test_training_never_shows_an_evaluation_item(self):
        forbidden = tasks.corpora_lines()
        for _, _, lines in itertools.islice(tasks.training_documents("pool", 0.5), 20_000):
            self.assertFalse(forbidden.intersection(lines))

    def test_the_same_seed_gives_the_same_items(self):
        first = tasks.minimal_pairs("passive")
        self.assertEqual(first, tasks.minimal_pairs("passive"))


if __name__ == "__main__":
    unittest.main()
