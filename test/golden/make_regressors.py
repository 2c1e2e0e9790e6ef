"""Reference values of packages/align's regressors from scikit-learn, on generated data: writes regressors.json.

    pip install scikit-learn==1.9.1 && python make_regressors.py
"""

import json
import pathlib

import numpy as np
import sklearn
from sklearn.cross_decomposition import PLSRegression
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline

rng = np.random.default_rng(7)
cases = {}
for name, n, p, t in (("tall", 30, 6, 4), ("wide", 12, 20, 3), ("one target", 20, 5, 1)):
    x = rng.standard_normal((n, p)) @ np.diag(np.linspace(0.3, 3, p)) + 1
    y = x @ rng.standard_normal((p, t)) + 2 * rng.standard_normal((n, t)) - 0.5
    held = rng.standard_normal((5, p)) + 1
    components = min(3, p)
    models = {
        "least-squares": LinearRegression(),
        "principal-components": make_pipeline(PCA(components, svd_solver="full"), LinearRegression()),
        "partial-least-squares": PLSRegression(components),
    }
    found = {k: np.reshape(m.fit(x, y).predict(held), (5, t)).ravel().tolist() for k, m in models.items()}
    unscaled = PLSRegression(2, scale=False).fit(x, y)
    found["partial-least-squares, two, unscaled"] = np.reshape(unscaled.predict(held), (5, t)).ravel().tolist()
    cases[name] = {
        "shape": [n, p, t], "components": components, "x": x.ravel().tolist(), "y": y.ravel().tolist(),
        "held": held.ravel().tolist(), "predicted": found,
    }
out = pathlib.Path(__file__).with_name("regressors.json")
about = {"sklearn": sklearn.__version__, "numpy": np.__version__, "seed": 7}
out.write_text(json.dumps({"about": about, "cases": cases}) + "\n")
