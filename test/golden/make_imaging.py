"""Makes imaging.json: small NIfTI, GIFTI and CIFTI-2 files with what nibabel reads in them, and sums and
hashes of what nibabel reads in the folder with real data, for packages/recordings/src/imaging.

    python3 test/golden/make_imaging.py ../shared/data
"""
import base64
import gzip
import hashlib
import json
import pathlib
import sys
import tempfile
import zlib

import nibabel as nib
import nilearn
import numpy as np
from nibabel import cifti2, gifti
from nilearn.maskers import NiftiLabelsMasker

data_folder = pathlib.Path(sys.argv[1])
rng = np.random.default_rng(20261122)
text = lambda b: base64.b64encode(b).decode()


def sha(values):
    """Of float64, little-endian, the first axis fastest."""
    return hashlib.sha256(np.asarray(values, "<f8").tobytes(order="F")).hexdigest()


def nifti_case(name, img, gz=False, header=None):
    raw = img.to_bytes()
    if header:
        raw = header(bytearray(raw))
    got = type(img).from_bytes(bytes(raw))
    raw = gzip.compress(bytes(raw), mtime=0) if gz else bytes(raw)
    values = got.get_fdata()
    return {"name": name, "bytes": text(raw), "shape": list(values.shape), "affine": got.affine.ravel().tolist(),
            "dtype": got.get_data_dtype().name, "values": values.ravel(order="F").tolist(), "sha256": sha(values)}


affine = np.array([[-3, .1, 0, 40], [0.2, 3, -0.3, -50], [0, .25, 3.5, -10], [0, 0, 0, 1.]])
rotation = nib.eulerangles.euler2mat(.3, -.5, 1.1)
oblique = nib.affines.from_matvec(rotation @ np.diag([2, 2.5, -3]), [10, -20, 30])
cases = []
for cls, version in [(nib.Nifti1Image, 1), (nib.Nifti2Image, 2)]:
    for kind in ["u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"]:
        for endian in "<>":
            shape = (3, 4, 2, 2)
            if kind[0] == "f":
                values = rng.normal(size=shape) * 10.0 ** rng.integers(-5, 5, shape)
            else:
                info = np.iinfo(kind)
                values = rng.integers(max(info.min, -2**52), min(info.max, 2**52), shape)
            values = values.astype(endian + kind)
            header = cls.header_class(endianness=endian)
            header.set_data_dtype(endian + kind)
            img = cls(values, affine, header)
            img.header.set_zooms((3, 3, 3.5, 2.5))
            img.header.set_xyzt_units("mm", "sec")
            scale = kind in ("i2", "f4", "u1") and endian == "<"

            def rescale(raw, endian=endian, version=version):
                pair = np.array([0.037, -12.5], endian + ("f4" if version == 1 else "f8")).tobytes()
                at = 112 if version == 1 else 176
                raw[at:at + len(pair)] = pair
                return raw

            cases.append(nifti_case(f"{version}{endian}{kind}{' scaled' if scale else ''}", img,
                                    gz=kind in ("i2", "f8"), header=rescale if scale else None))
    header = cls.header_class()
    header.set_data_shape((3, 4, 2))
    header.set_data_dtype("f4")
    values = rng.normal(size=(3, 4, 2)).astype("f4")
    img = cls(values, None, header)
    img.header.set_zooms((2, 2.5, 3))
    cases.append(nifti_case(f"{version} no affine", img))
    img = cls(values, oblique)
    img.set_qform(oblique, 1)
    img.set_sform(None, 0)
    cases.append(nifti_case(f"{version} qform", img))
    img = cls(values, oblique)
    img.set_qform(affine, 4, strip_shears=True)
    img.set_sform(oblique, 1)
    cases.append(nifti_case(f"{version} sform before a qform of a larger code", img))

# GIFTI: each encoding, byte order and index order, of one matrix.
matrix = (rng.normal(size=(5, 3)) * 10.0 ** rng.integers(-8, 8, (5, 3))).astype("f4")
giftis = []
for encoding in ["ASCII", "B64BIN", "B64GZ"]:
    for endian in ["little", "big"]:
        for order in ["RowMajorOrder", "ColumnMajorOrder"]:
            if encoding == "ASCII" and (endian == "big" or order[0] == "C"):
                continue  # ASCII has no byte order, and nibabel overlooks the index order there.
            array = gifti.GiftiDataArray(matrix, intent="NIFTI_INTENT_POINTSET", datatype="NIFTI_TYPE_FLOAT32",
                                         encoding={"ASCII": "GIFTI_ENCODING_ASCII", "B64BIN": "GIFTI_ENCODING_B64BIN",
                                                   "B64GZ": "GIFTI_ENCODING_B64GZ"}[encoding], ordering=order,
                                         meta={"AnatomicalStructurePrimary": "CortexRight"})
            xml = gifti.GiftiImage(darrays=[array]).to_xml()
            if endian == "big":
                # nibabel writes the machine's order only.
                body = matrix.astype(">f4").tobytes(order="C" if order[0] == "R" else "F")
                if encoding == "B64GZ":
                    body = zlib.compress(body)
                start, end = xml.index(b"<Data>") + 6, xml.index(b"</Data>")
                xml = xml[:start] + base64.b64encode(body) + xml[end:]
                xml = xml.replace(b'"LittleEndian"', b'"BigEndian"')
            got = gifti.GiftiImage.from_bytes(xml).darrays[0].data
            giftis.append({"name": f"{encoding} {endian} {order}", "xml": xml.decode(), "shape": list(got.shape),
                           "values": np.asarray(got, "f8").ravel().tolist()})

# CIFTI-2: axes of each kind.
vertices = np.arange(12)
left = cifti2.BrainModelAxis.from_mask(vertices % 3 != 0, "CortexLeft")
right = cifti2.BrainModelAxis.from_mask(vertices % 4 == 1, "CortexRight")
mask = np.zeros((3, 4, 2), bool)
mask[1, 2:, :] = True
thalamus = cifti2.BrainModelAxis.from_mask(mask, "thalamus_left", affine=affine)
models = left + right + thalamus
series = cifti2.SeriesAxis(0, .72, 6, "second")
scalars = cifti2.ScalarAxis(["faces", "houses"])
parcels = cifti2.ParcelsAxis.from_brain_models([("A", left[:4]), ("B", left[4:] + thalamus)])
keys = rng.integers(0, 3, (1, len(models)))
labels = cifti2.LabelAxis(["atlas"], [{0: ("???", (0, 0, 0, 0)), 1: ("IFG", (1, 0, 0, 1)), 2: ("MTG", (0, 1, 0, 1))}])
ciftis = []
for name, axes, intent in [("dtseries", (series, models), 3002), ("dscalar", (scalars, models), 3006),
                           ("ptseries", (series, parcels), 3004), ("pscalar", (scalars, parcels), 3008),
                           ("dconn", (models, models), 3001), ("dlabel", (labels, models), 3007)]:
    values = keys if name == "dlabel" else rng.normal(size=tuple(len(a) for a in axes))
    img = cifti2.Cifti2Image(values.astype("f4"), cifti2.Cifti2Header.from_axes(axes))
    img.nifti_header.set_intent(intent)
    img.update_headers()
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / f"x.{name}.nii"
        img.to_filename(path)
        raw = path.read_bytes()
        got = nib.load(path).get_fdata()
    ciftis.append({"name": name, "bytes": text(gzip.compress(raw, mtime=0)), "shape": list(got.shape), "values": got.ravel().tolist()})
voxels = [[int(v) for v in models.voxel[i]] for i in range(len(models)) if models.voxel[i][0] >= 0]
cifti_expected = {"vertices": [[str(n), int(v)] for n, v in zip(models.name, models.vertex) if v >= 0],
                  "voxels": voxels, "positions": nib.affines.apply_affine(affine, voxels).tolist(),
                  "keys": keys[0].tolist()}

# Means of regions by nilearn.
bold = nib.Nifti1Image(rng.normal(size=(5, 4, 3, 6)), oblique)
bold.header.set_zooms((2, 2.5, 3, 2))
bold.header.set_xyzt_units("mm", "sec")
atlas = nib.Nifti1Image(rng.integers(0, 4, (5, 4, 3)).astype("i2"), oblique)
means = NiftiLabelsMasker(atlas, resampling_target=None).fit_transform(bold)
regions = {"nilearn": nilearn.__version__, "bold": text(gzip.compress(bold.to_bytes(), mtime=0)),
           "atlas": text(gzip.compress(atlas.to_bytes(), mtime=0)), "shape": list(means.shape),
           "means": means.ravel().tolist()}

# What nibabel reads in real files.
real = []
for path in sorted(list((data_folder / "nifti_gifti").glob("*.nii*")) + list((data_folder / "haxby").rglob("*.nii.gz"))
                   + list((data_folder / "langloc_fmri").glob("*.nii.gz"))):
    if ".dconn" in path.name or "run" in str(path) and "run001" not in str(path):
        continue
    img = nib.load(path)
    values = img.get_fdata()
    flat = values.ravel(order="F")
    picks = [int(i) for i in np.linspace(0, flat.size - 1, 7)]
    real.append({"file": path.relative_to(data_folder).as_posix(), "shape": list(values.shape),
                 "affine": img.affine.ravel().tolist(), "zooms": [float(z) for z in img.header.get_zooms()],
                 "sum": float(flat.sum()), "picks": picks, "values": flat[picks].tolist(), "sha256": sha(values)})
for path in sorted((data_folder / "nifti_gifti").glob("*.gii")):
    arrays = nib.load(path).darrays
    real.append({"file": path.relative_to(data_folder).as_posix(),
                 "arrays": [{"shape": list(a.data.shape), "sum": float(a.data.astype("f8").sum()),
                             "sha256": hashlib.sha256(a.data.astype("<f8").tobytes()).hexdigest()} for a in arrays]})
dconn = nib.load(data_folder / "nifti_gifti/row_major.dconn.nii")
real.append({"file": "nifti_gifti/row_major.dconn.nii", "cifti": dconn.get_fdata().ravel().tolist(),
             "voxels": dconn.header.get_axis(0).voxel.tolist()})
bold = nib.load(data_folder / "haxby/bold.nii.gz").get_fdata()
inside = nib.load(data_folder / "haxby/mask.nii.gz").get_fdata().squeeze() != 0
# The file's order: x fastest.
series = bold.squeeze().transpose(1, 0, 2)[inside.T]
real.append({"file": "haxby/bold.nii.gz", "masked": {"shape": list(series.T.shape), "sha256": hashlib.sha256(
    np.ascontiguousarray(series.T, "<f8").tobytes()).hexdigest()}})

out = {"nibabel": nib.__version__, "numpy": np.__version__, "nifti": cases, "gifti": giftis, "cifti": ciftis,
       "ciftiExpected": cifti_expected, "regions": regions, "real": real}
path = pathlib.Path(__file__).with_name("imaging.json")
path.write_text(json.dumps(out) + "\n")
print(path.name, path.stat().st_size, "bytes")
