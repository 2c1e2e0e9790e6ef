"""Makes the small files in electrophysiology/ and what other readers find in them.

    python3 test/golden/make_electrophysiology.py [FOLDER]

Needs mne, h5py, scipy and netCDF4 (versions are in expected.json). All data are generated with SEED. With FOLDER, the
folder of real recordings that the tests use where it is there, realFiles.json is made too: sizes, sums and single values only.
"""
import json
import pathlib
import sys
import warnings

import h5py
import mne
import netCDF4
import numpy as np
import scipy
import scipy.io
import scipy.sparse

SEED = 20261122
rng = np.random.default_rng(SEED)
HERE = pathlib.Path(__file__).parent / "electrophysiology"
HERE.mkdir(exist_ok=True)
mne.set_log_level("error")
warnings.simplefilter("ignore")
expected = {
    "versions": {"mne": mne.__version__, "h5py": h5py.__version__, "scipy": scipy.__version__,
                 "numpy": np.__version__, "netCDF4": netCDF4.__version__},
    "seed": SEED,
}


def listed(a):
    return np.asarray(a, dtype=float).ravel().tolist()


def summary(a, n=7):
    """Size, sum, sum of magnitudes, and some values at even steps through [time or row, channel or column]."""
    a = np.asarray(a, dtype=float)
    at = np.linspace(0, a.size - 1, n).astype(int)
    finite = np.where(np.isfinite(a), a, 0)
    return {"shape": list(a.shape), "sum": float(finite.sum()), "magnitude": float(np.abs(finite).sum()),
            "at": at.tolist(), "values": a.ravel()[at].tolist()}


# HDF5 by h5py: what h5wasm cannot write itself.
with h5py.File(HERE / "kinds.h5", "w", userblock_size=512) as f:
    for kind in ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8", ">i4", ">f8"]:
        f.create_dataset(f"numbers/{kind.replace('>', 'big')}", data=np.arange(-2, 4).astype(kind).reshape(2, 3))
    f["numbers"].attrs["unit"] = "V"
    f["numbers"].attrs["scale"] = np.array([1.5, 2.5])
    f["scalar"] = np.int64(2**53 + 1)
    f["boolean"] = np.array([True, False, True])
    f.create_dataset("enum", data=np.array([1, 2]), dtype=h5py.enum_dtype({"RED": 1, "BLUE": 2}, basetype="u1"))
    f["text"] = np.array([b"ab", b"c", b""], dtype="S4")
    f.create_dataset("words", data=["eins", "zw\u00f6lf"], dtype=h5py.string_dtype())
    f.create_dataset("references", data=np.array([f["scalar"].ref, f["numbers"].ref, h5py.Reference()], dtype=h5py.ref_dtype))
    f["scalar"].attrs["friend"] = f["boolean"].ref
    ragged = f.create_dataset("ragged", (2,), dtype=h5py.vlen_dtype(np.int32))
    ragged[0], ragged[1] = [1, 2, 3], [4]
    f["compound"] = np.zeros(2, dtype=[("a", "i4"), ("b", "f8")])
    f["half"] = np.ones(2, dtype="f2")
    f["empty"] = h5py.Empty("f8")
    f["none"] = np.zeros((0, 3))
    f.create_dataset("packed", data=np.arange(100).reshape(10, 10), chunks=(5, 5), compression="gzip", shuffle=True)
    f.create_dataset("unwritten", (4,), dtype="f8", chunks=(4,), fillvalue=7)
    f["soft"] = h5py.SoftLink("/numbers/f8")
    f["lost"] = h5py.SoftLink("/nowhere")
    f["outside"] = h5py.ExternalLink("/etc/hostname", "/x")
