"""Makes classifiers.json: decisions of scikit-learn's linear classifiers on generated data.

    python3 test/golden/make_classifiers.py

The version and the seed are in the file.
"""
import json
import pathlib

import numpy as np
import sklearn
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.svm import LinearSVC

SEED = 20261122
rng = np.random.default_rng(SEED)


def normal(*size):
    """Rounded, to keep the file small."""
    return rng.normal(size=size).round(4)


def case(n, p, k):
    y = np.arange(n) % k
    x = (normal(n, p) + 0.8 * normal(k, p)[y] + 3).round(4)
    held = (normal(6, p) + 3).round(4)
    models = {
        "svm": LinearSVC(C=0.05, tol=1e-10, max_iter=10**6, dual=True, random_state=0),
        "svm-hinge": LinearSVC(C=0.05, loss="hinge", tol=1e-10, max_iter=10**6, dual=True, random_state=0),
        "ridge": RidgeClassifier(2.0),
        "logistic": LogisticRegression(C=0.5, tol=1e-10, max_iter=10**5),
        "lda": LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.2),
    }
    decisions = {name: model.fit(x, y).decision_function(held).ravel().tolist() for name, model in models.items()}
    return {"shape": [n, p, k], "x": x.ravel().tolist(), "held": held.ravel().tolist(), "decisions": decisions}


cases = [case(24, 4, 3), case(20, 5, 2), case(12, 30, 3)]
path = pathlib.Path(__file__).with_name("classifiers.json")
path.write_text(json.dumps({"sklearn": sklearn.__version__, "seed": SEED, "cases": cases}) + "\n")
