export {
  ArgumentError,
  DataError,
  DownloadError,
  FileError,
  FormatError,
  HookPointError,
  InterruptedError,
  ModelError,
  PenfieldError,
  ShapeError,
  TokenizerError,
  throwIfAborted,
  UsageError,
} from "./errors.ts";
export { fileError, writeFileAtomic, writeFolderAtomic } from "./files.ts";
export { sha256, sha256File } from "./hash.ts";
export { float16ToNumber, type NpyArray, readNpy, writeNpy } from "./npy.ts";
export { type NumpyRandom, numpyRandom } from "./numpyRandom.ts";
export type { LongWork, OnProgress, Progress } from "./progress.ts";
export { createRng, permutation, type Rng, sampleWithoutReplacement } from "./random.ts";
export {
  readSafetensors,
  type SafeTensor,
  type Safetensors,
  writeSafetensors,
} from "./safetensors.ts";
export {
  type Activations,
  activations,
  type FloatArray,
  type Tensor,
  takeColumns,
  takeRows,
  tensor,
} from "./tensor.ts";
