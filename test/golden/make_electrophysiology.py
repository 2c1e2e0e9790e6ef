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


# MATLAB 5 by scipy: all classes, nested, compressed or not; and by hand what scipy does not write.
cells = np.empty((2, 2), dtype=object)
cells[0, 0], cells[0, 1], cells[1, 0], cells[1, 1] = "a", np.arange(3.0), np.zeros((0, 0)), np.array([[True, False]])
records = np.zeros((1, 2), dtype=[("onset", object), ("name", object)])
records[0, 0] = (1.5, "first")
records[0, 1] = (2.5, "second")
cube = np.arange(24.0).reshape(2, 3, 4)
mat = {
    **{kind: np.arange(6).reshape(2, 3).astype(kind) for kind in
       ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"]},
    "wide": np.array([[-(2**62), 2**62 + 1]], dtype="int64"),
    "cube": cube,
    "complex": np.array([[1 + 2j, 3 - 4j], [5, 6j]]),
    "truth": np.array([[True, False], [False, False]]),
    "text": "K\u00f6ln",
    "rows": np.array(["ab", "cd"]),
    "nothing": np.zeros((0, 3)),
    "cells": cells,
    "records": records,
    "nested": {"a": {"b": {"c": 7.0}}, "list": [1.0, 2.0]},
    "sparse": scipy.sparse.csc_matrix(np.array([[0, 1.5, 0], [2.5, 0, -1]])),
    "sparseComplex": scipy.sparse.csc_matrix(np.array([[0, 1j], [2, 0]])),
}
scipy.io.savemat(HERE / "plain.mat", mat, do_compression=False, oned_as="row")
scipy.io.savemat(HERE / "compressed.mat", mat, do_compression=True, oned_as="row")

# MATLAB 7.3 as MATLAB writes it: HDF5 behind 512 bytes, columns first, cells and structs as references.
with h5py.File(HERE / "v73.mat", "w", userblock_size=512) as f:
    refs = f.create_group("#refs#")

    def put(where, name, value, kind, **attributes):
        d = where.create_dataset(name, data=value)
        d.attrs["MATLAB_class"] = np.bytes_(kind)
        for key, v in attributes.items():
            d.attrs[key] = v
        return d

    put(f, "cube", cube.T, "double")
    put(f, "counts", np.arange(6, dtype="int16").reshape(2, 3).T, "int16")
    put(f, "truth", np.array([[1, 0]], dtype="u1").T, "logical", MATLAB_int_decode=np.int32(1))
    put(f, "text", np.array([[ord(c)] for c in "K\u00f6ln"], dtype="u2"), "char", MATLAB_int_decode=np.int32(2))
    put(f, "nothing", np.array([0, 3], dtype="u8"), "double", MATLAB_empty=np.uint8(1))
    parts = [put(refs, "a", np.array([[ord("x")]], dtype="u2"), "char"), put(refs, "b", np.array([[4.0]]), "double"),
             put(refs, "c", np.array([[5.0]]), "double"), put(refs, "d", np.array([[6.0]]), "double")]
    cell = f.create_dataset("cells", data=np.array([[parts[0].ref, parts[1].ref], [parts[2].ref, parts[3].ref]], dtype=h5py.ref_dtype))
    cell.attrs["MATLAB_class"] = np.bytes_("cell")
    struct = f.create_group("nested")
    struct.attrs["MATLAB_class"] = np.bytes_("struct")
    put(struct, "value", np.array([[7.0]]), "double")
    array = f.create_group("records")
    array.attrs["MATLAB_class"] = np.bytes_("struct")
    array.create_dataset("onset", data=np.array([[parts[1].ref], [parts[2].ref]], dtype=h5py.ref_dtype))
    array.create_dataset("name", data=np.array([[parts[0].ref], [parts[0].ref]], dtype=h5py.ref_dtype))
    sparse = f.create_group("sparse")
    sparse.attrs["MATLAB_class"] = np.bytes_("double")
    sparse.attrs["MATLAB_sparse"] = np.uint64(2)
    sparse["data"], sparse["ir"], sparse["jc"] = np.array([2.5, 1.5, -1]), np.array([1, 0, 1], "u8"), np.array([0, 1, 2, 3], "u8")
# h5py's user block is empty; MATLAB's begins with text.
with open(HERE / "v73.mat", "r+b") as f:
    f.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")

# --- the real files ---
real = {}
data = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else None
if data:
    def mat_value(file, *steps):
        value = scipy.io.loadmat(data / file)
        for step in steps:
            value = value[step] if isinstance(step, str) else value.ravel()[step]
        # scipy gives a field of a 1 x 1 struct array as an array of objects.
        while value.dtype == object and value.size == 1:
            value = value.item()
        path = " / ".join(f"[{s}]" if isinstance(s, int) else s for s in steps)
        return f"{file}: {path}", summary(value)

    real["mat"] = dict([
        mat_value("rdm92/92_brainRDMs.mat", "RDMs", 0, "RDM"),
        mat_value("rdm92/92_brainRDMs.mat", "RDMs", 7, "RDM"),
        mat_value("rdm92/92_behavRDMs.mat", "rdms_behav_92", 15, "RDM"),
        mat_value("rdm92/92_modelRDMs.mat", "Models", 3, "RDM"),
        mat_value("rdm92/Kriegeskorte_Neuron2008_supplementalData.mat", "categoryVectors"),
        mat_value("rdm92/Kriegeskorte_Neuron2008_supplementalData.mat", "RDMs_mIT_hIT_fig1", 1, "RDM"),
        mat_value("rdm92/Kriegeskorte_Neuron2008_supplementalData.mat", "stimuli_92objs", 91, "image"),
        mat_value("spikes/linear-track_spikes.mat", "spikes", 0, 0, 0, 1, "time"),
    ])
    with h5py.File(data / "matv73/v73.mat") as f:
        for name in ["x", "y"]:
            real["mat"][f"matv73/v73.mat: {name}"] = summary(f[name][()].T)

(HERE / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
if data:
    (HERE / "realFiles.json").write_text(json.dumps(real, indent=1) + "\n")
