"""Makes the small files in electrophysiology/ and what other readers find in them.

    python3 test/golden/make_electrophysiology.py [FOLDER]

Needs mne, pandas, h5py, scipy, netCDF4, edfio and, for the Parquet files, pyarrow (versions are in expected.json). All data are generated with SEED. With FOLDER, the
folder of real recordings that the tests use where it is there, realFiles.json is made too: sizes, sums and single values only.
"""
import hashlib
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
    # Of all bits: equal means equal in every value.
    digest = hashlib.sha256(np.ascontiguousarray(a + 0.0).tobytes()).hexdigest()
    return {"sha256": digest, "shape": list(a.shape), "sum": float(finite.sum()), "magnitude": float(np.abs(finite).sum()),
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

# FIF by MNE: every kind of file, every kind of number.
names = ["MEG 0111", "MEG 0112", "EEG 001", "EEG 002", "EEG 003", "a channel with a long name", "STI 014"]
info = mne.create_info(names, 100.0, ["mag", "grad", "eeg", "eeg", "eeg", "misc", "stim"])
with info._unlock():
    info["lowpass"], info["highpass"] = 40.0, 0.1
    for i, ch in enumerate(info["chs"]):
        ch["cal"], ch["range"] = np.float32(10.0 ** (-i % 3)), 1.0
        ch["loc"][:3] = [0.01 * i, 0.02, -0.03]
info["bads"] = ["EEG 002", "a channel with a long name"]
signal = rng.standard_normal((7, 250)) * np.array([1e-12, 1e-11, 1e-5, 1e-5, 1e-5, 1, 0])[:, None]
signal[6, 50:60], signal[6, 60:65], signal[6, 100:110], signal[6, 110:120] = 3, 5, 5, 2
raw = mne.io.RawArray(signal, info, first_samp=37)
raw.set_meas_date(1_500_000_000.25)
raw.set_annotations(mne.Annotations([0.5, 1.25], [0.1, 0.0], ["BAD blink", "word: one"]))
raw.add_proj([mne.Projection(data=dict(nrow=2, ncol=3, row_names=None, col_names=["EEG 001", "EEG 002", "EEG 003"],
                                       data=np.array([[1.0, 1, 1], [1, 1, 1.001]])), kind=1, active=False, desc="two of EEG", explained_var=None),
              mne.Projection(data=dict(nrow=1, ncol=2, row_names=None, col_names=["MEG 0111", "MEG 0112"],
                                       data=np.array([[0.6, 0.8]])), kind=1, active=False, desc="one of MEG", explained_var=None)])
expected["fif"] = {}
for kind in ["short", "int", "single", "double"]:
    path = HERE / f"{kind}_raw.fif"
    raw.save(path, fmt=kind, overwrite=True, buffer_size_sec=0.7)
    back = mne.io.read_raw_fif(path, preload=True)
    expected["fif"][path.name] = {
        "data": summary(back.get_data().T), "projected": summary(back.copy().apply_proj().get_data().T),
        "names": back.ch_names, "bads": back.info["bads"], "kinds": back.get_channel_types(), "positions": listed([c["loc"][:3] for c in back.info["chs"]]),
        "events": [[(s - back.first_samp) / 100, int(v)] for s, _, v in mne.find_events(back)],
        "annotations": [[o - back.first_time, d, t] for o, d, t in
                        zip(back.annotations.onset, back.annotations.duration, back.annotations.description)],
    }
import pandas
found = mne.find_events(raw)
events = np.array([[80, 0, 1], [120, 0, 2], [160, 0, 1], [200, 0, 1]])
epochs = mne.Epochs(raw, events, {"left": 1, "right/far": 2}, -0.2, 0.3, baseline=None, preload=True, proj=False,
                    metadata=pandas.DataFrame({"word": ["a", "b", "c", "d"], "length": [1, 2, 3, 4]}))
epochs.save(HERE / "small-epo.fif", overwrite=True, fmt="single")
back = mne.read_epochs(HERE / "small-epo.fif", proj=False)
expected["fif"]["small-epo.fif"] = {"data": summary(back.get_data()), "times": listed(back.times), "events": listed(back.events)}
both = [epochs["left"].average(), epochs["right/far"].average(), epochs["left"].standard_error()]
both[0].comment, both[1].comment, both[2].comment = "left", "right", "left"
mne.write_evokeds(HERE / "small-ave.fif.gz", both, overwrite=True)
expected["fif"]["small-ave.fif.gz"] = [{"data": summary(e.data), "comment": e.comment, "nave": e.nave, "times": listed(e.times)}
                                       for e in mne.read_evokeds(HERE / "small-ave.fif.gz", proj=False)]
cov = mne.compute_raw_covariance(raw, picks="eeg", verbose="error")
cov.save(HERE / "small-cov.fif", overwrite=True)
expected["fif"]["small-cov.fif"] = {"data": summary(mne.read_cov(HERE / "small-cov.fif").data), "names": cov.ch_names, "nfree": cov.nfree}
mne.write_events(HERE / "small-eve.fif", found, overwrite=True)
expected["fif"]["small-eve.fif"] = listed(found)
raw.annotations.save(HERE / "small-annot.fif", overwrite=True)
mne.write_proj(HERE / "small-proj.fif", raw.info["projs"], overwrite=True)

# EDF+ by edfio: two rates, annotations, units.
import edfio

edf = edfio.Edf(
    [edfio.EdfSignal(rng.standard_normal(250) * 50, 50, label="EEG Fz", physical_dimension="uV"),
     edfio.EdfSignal(rng.standard_normal(250) * 3, 50, label="EOG left", physical_dimension="mV"),
     edfio.EdfSignal(rng.standard_normal(50) + 20, 10, label="TEMP", physical_dimension="degC")],
    annotations=[edfio.EdfAnnotation(0.5, None, "start"), edfio.EdfAnnotation(1.25, 0.5, "W\u00f6rter"), edfio.EdfAnnotation(4.0, 0.25, "b")],
    data_record_duration=1)
edf.write(HERE / "small.edf")
expected["edf"] = {}
back = mne.io.read_raw_edf(HERE / "small.edf", include=["EEG Fz", "EOG left"], preload=True)
expected["edf"]["fast"] = summary(back.get_data().T)
# MNE: V for what is in mV and \u00b5V, other units as they are.
expected["edf"]["slow"] = summary(mne.io.read_raw_edf(HERE / "small.edf", include=["TEMP"], preload=True).get_data().T)
expected["edf"]["annotations"] = [[o, d, t] for o, d, t in zip(back.annotations.onset, back.annotations.duration, back.annotations.description)]

# EEGLAB as EEGLAB saves it: a struct EEG, samples inside or in a .fdt.
def eeglab(name, samples, trials, inside, events):
    n, pnts = samples.shape[0], samples.shape[1]
    places = np.zeros(n, dtype=[("labels", object), ("X", object), ("Y", object), ("Z", object), ("type", object)])
    for i in range(n):
        places[i] = (f"E{i + 1}", 10.0 * i, 20.0, 30.0, "EOG" if i == 2 else "")
    table = np.zeros(len(events), dtype=[("type", object), ("latency", object), ("duration", object), ("word", object), ("epoch", object)])
    for i, e in enumerate(events):
        table[i] = e
    flat = samples.reshape(n, -1, order="F").astype("<f4") if samples.ndim == 3 else samples.astype("<f4")
    if not inside:
        flat.T.tofile(HERE / f"{name}.fdt")
    scipy.io.savemat(HERE / f"{name}.set", {"EEG": {
        "setname": name, "nbchan": n, "pnts": pnts, "trials": trials, "srate": 100.0, "xmin": -0.1 if trials > 1 else 0.0,
        "xmax": 0.0, "times": np.zeros(0), "data": samples.astype("<f4") if inside else f"{name}.fdt", "icawinv": np.zeros((0, 0)),
        "icasphere": np.zeros((0, 0)), "icaweights": np.zeros((0, 0)), "icaact": np.zeros((0, 0)), "icachansind": np.zeros((0, 0)),
        "chanlocs": places, "event": table, "epoch": np.zeros((0, 0)), "chaninfo": {"nosedir": "+X"}, "ref": "common"}}, oned_as="row")


samples = rng.standard_normal((3, 60)) * 20
eeglab("continuous", samples, 1, True, [("square", 11.0, 2.0, "a", 1.0), (7.0, 31.5, 0.0, "b", 1.0)])
back = mne.io.read_raw_eeglab(HERE / "continuous.set", preload=True)
expected["eeglab"] = {"continuous": summary(back.get_data().T), "kinds": back.get_channel_types(),
                      "events": [[o, d, t] for o, d, t in zip(back.annotations.onset, back.annotations.duration, back.annotations.description)]}
cube = np.stack([samples[:, 20 * k:20 * k + 20] for k in range(3)], axis=2)
# Half a gigabyte of channels, says the head; one is there.
scipy.io.savemat(HERE / "lie.set", {"EEG": {"nbchan": 2**26, "pnts": 5, "trials": 1, "srate": 100.0, "data": np.zeros((1, 5))}})
eeglab("epoched", cube, 3, False, [("a", 11.0, 0.0, "x", 1.0), ("later", 15.0, 0.0, "y", 1.0), ("b", 31.0, 0.0, "x", 2.0), ("a", 51.0, 0.0, "z", 3.0)])
expected["eeglab"]["epoched"] = summary(cube.astype("<f4").astype(float).transpose(2, 0, 1) * 1e-6)

# NWB as PyNWB lays it out: a series with a rate, one with timestamps, trials, units.
with h5py.File(HERE / "small.nwb", "w", libver="latest") as f:
    f.attrs["nwb_version"] = "2.6.0"
    f["identifier"], f["session_description"] = "abc", "a session"
    f["general/subject/subject_id"] = "mouse"
    counts = rng.integers(-500, 500, (50, 3)).astype("int16")
    lfp = f.create_group("acquisition/lfp")
    lfp.attrs["neurodata_type"] = "ElectricalSeries"
    lfp["data"] = counts
    lfp["data"].attrs["conversion"], lfp["data"].attrs["unit"], lfp["data"].attrs["offset"] = 2.5e-6, "volts", 1e-3
    lfp["channel_conversion"] = np.array([1.0, 2.0, 0.5])
    lfp["starting_time"] = 10.0
    lfp["starting_time"].attrs["rate"], lfp["starting_time"].attrs["unit"] = 250.0, "seconds"
    lfp["electrodes"] = np.array([2, 0, 1])
    table = f.create_group("general/extracellular_ephys/electrodes")
    table["id"], table["location"] = np.array([7, 8, 9]), ["V1", "V1", "V4"]
    table["x"], table["y"], table["z"] = np.array([1000.0, 0, 500]), np.zeros(3), np.array([0.0, 0, -250])
    run = f.create_group("processing/behavior/speed")
    run["data"], run["timestamps"] = np.arange(5.0), 3 + np.arange(5) * 0.5
    run["data"].attrs["unit"] = "m/s"
    uneven = f.create_group("processing/behavior/licks")
    uneven["data"], uneven["timestamps"] = np.ones(3), np.array([1.0, 2.0, 5.0])
    trials = f.create_group("intervals/trials")
    trials["id"], trials["start_time"], trials["stop_time"] = np.arange(2), np.array([10.1, 10.15]), np.array([10.12, 10.2])
    trials["stimulus"], trials["hit"] = ["left", "right"], np.array([True, False])
    units = f.create_group("units")
    units["id"], units["spike_times"], units["spike_times_index"] = np.array([3, 5, 6]), np.array([0.1, 0.2, 0.35, 1.5]), np.array([3, 3, 4])
    units["quality"] = ["good", "good", "noise"]
    expected["nwb"] = summary(counts * 2.5e-6 * np.array([1.0, 2.0, 0.5]) + 1e-3)

# BrainIO's layout: netCDF-4 with levels of presentation, neuroid and time_bin.
with netCDF4.Dataset(HERE / "assembly.nc", "w") as f:
    for name, n in [("presentation", 5), ("neuroid", 2), ("time_bin", 3)]:
        f.createDimension(name, n)
    for name, kind, dimension, values in [
            ("stimulus_id", str, "presentation", ["a", "b", "a", "b", "a"]), ("repetition", "i8", "presentation", [1, 0, 0, 1, 2]),
            ("neuroid_id", str, "neuroid", ["n1", "n2"]), ("region", str, "neuroid", ["V4", "IT"]),
            ("time_bin_start", "i8", "time_bin", [70, 90, 110]), ("time_bin_end", "i8", "time_bin", [90, 110, 130])]:
        f.createVariable(name, kind, (dimension,))[:] = np.array(values, dtype=object if kind is str else kind)
    # Neuroids first, as BrainIO stores recordings.
    block = f.createVariable("data", "f8", ("neuroid", "presentation", "time_bin"))
    block[:] = np.arange(30.0).reshape(2, 5, 3)
    block.coordinates = "stimulus_id repetition neuroid_id region time_bin_start time_bin_end"

np.savez(HERE / "arrays.npz", data=np.arange(8, dtype="f4").reshape(4, 2), stimulus_id=np.array(["a", "b", "a", "c"]),
         neuroid_id=np.array(["n1", "n2"]), region=np.array(["V1", "V2"]))
pyarrow = None
try:
    import pyarrow
    import pyarrow.parquet
except ImportError:
    print("without pyarrow: the .parquet files are left as they are")
if pyarrow:
    columns = pyarrow.table({"id": ["a", "b", "a"], "v1": [1.5, 2.5, 3.5], "v2": pyarrow.array([1, 2, 3], "int32"), "note": ["x", "y", "z"]})
    for packing in ["snappy", "gzip"]:
        pyarrow.parquet.write_table(columns, HERE / f"{packing}.parquet", compression=packing)

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

    real["fif"] = {}
    for name in ["test_bin_raw.fif", "test_ctf_comp_raw.fif"]:
        back = mne.io.read_raw_fif(data / "fif" / name, preload=True)
        real["fif"][name] = {"data": summary(back.get_data().T), "kinds": back.get_channel_types(), "names": back.ch_names[:5],
                             "nComps": len(back.info["comps"]), "events": [[(s - back.first_samp) / back.info["sfreq"], int(v)] for s, _, v in
                             (mne.find_events(back) if "bin" in name else [])]}
    real["fif"]["test-ave.fif.gz"] = [
        {"data": summary(e.data), "comment": e.comment, "nave": e.nave, "projected": summary(e.copy().apply_proj().data), "bads": e.info["bads"]}
        for e in mne.read_evokeds(data / "fif/test-ave.fif.gz", proj=False)]
    back = mne.read_cov(data / "fif/test-cov.fif.gz")
    real["fif"]["test-cov.fif.gz"] = {"data": summary(back.data), "nfree": back.nfree, "names": back.ch_names[:5]}
    for name in ["test-eve.fif", "test_raw-eve.fif"]:
        real["fif"][name] = summary(mne.read_events(data / "fif" / name, mask=None))
    real["fif"]["test-proj.fif"] = [{"name": p["desc"], "data": summary(p["data"]["data"])} for p in mne.read_proj(data / "fif/test-proj.fif")]

    real["edf"] = {}
    for name in ["test.edf", "test.bdf", "test_uneven_samp.edf"]:
        read = mne.io.read_raw_bdf if name.endswith("bdf") else mne.io.read_raw_edf
        # MNE resamples channels of other rates: those are left out.
        back = read(data / "edf" / name, preload=True, exclude=["0.2Hz Blk 1/0uV"])
        stim = back.copy().pick("stim") if "stim" in back else None
        found = mne.find_events(back, mask=2**16 - 1, mask_type="and", uint_cast=True) if stim else []
        real["edf"][name] = {"data": summary(back.get_data(picks="eeg").T), "sfreq": back.info["sfreq"],
                             "names": back.copy().pick("eeg").ch_names,
                             "events": [[s / back.info["sfreq"], int(v)] for s, _, v in found],
                             "annotations": [[o, d, t] for o, d, t in
                                             zip(back.annotations.onset, back.annotations.duration, back.annotations.description)]}

    back = mne.io.read_raw_brainvision(data / "brainvision/test.vhdr", preload=True)
    real["brainvision"] = {"data": summary(back.get_data().T), "names": back.ch_names, "sfreq": back.info["sfreq"],
                           "events": [[o, d, t] for o, d, t in zip(back.annotations.onset, back.annotations.duration, back.annotations.description)]}

    back = mne.read_epochs_eeglab(data / "eeglab/eeglab_data_epochs_ica.set")
    names = {v: k.split("/")[0] for k, v in back.event_id.items()}
    real["eeglab"] = {"data": summary(back.get_data()), "names": back.ch_names, "kinds": back.get_channel_types(),
                      "first": [names[v] for v in back.events[:, 2]], "times": [back.times[0], back.times[-1]],
                      "positions": [None if np.isnan(c["loc"][0]) else listed(c["loc"][:3] * 1000) for c in back.info["chs"]]}

    real["assembly"] = {}
    for name, key in [("alexnet-probabilities.nc", "__xarray_dataarray_variable__"), ("alexnet-rgb-None.nc", "__xarray_dataarray_variable__"),
                      ("assy_test_TestMe.nc", "data")]:
        with h5py.File(data / "brainio_nc" / name) as f:
            real["assembly"][name] = summary(f[key][()])

(HERE / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
if data:
    (HERE / "realFiles.json").write_text(json.dumps(real, indent=1) + "\n")
