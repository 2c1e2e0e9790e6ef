import { ArgumentError, float16ToNumber, ModelError } from "@penfield/core";
import { type InferenceSession, Tensor } from "onnxruntime-node";
import type { ModelInputs, PaddedBatch } from "./inputs.ts";
import { LAST_TOKEN, POSITIONS, TOKEN_COUNT, TOKEN_MASK } from "./plan.ts";

/** Values at one hook point, `[row, pos, unit]` (or what the hook's axes say), row-major. */
export interface HookValues {
  readonly data: Float32Array;
  readonly shape: readonly number[];
}

/** Runs a session, with the runtime's own words if it fails. */
export async function runSession(
  session: InferenceSession,
  feeds: Record<string, Tensor>,
  fetches: readonly string[],
): Promise<Record<string, Tensor>> {
  try {
    return (await session.run(feeds, fetches)) as Record<string, Tensor>;
  } catch (cause) {
    throw new ModelError(`run: onnxruntime could not run the model: ${(cause as Error).message}`, {
      cause,
    });
  }
}

/** A tensor's values as float32, whatever the runtime gives. */
export function toHookValues(output: Tensor): HookValues {
  const { data, dims } = output;
  if (data instanceof Float32Array) return { data, shape: dims };
  if (data instanceof Uint16Array) {
    return { data: Float32Array.from(data, float16ToNumber), shape: dims };
  }
  if (ArrayBuffer.isView(data)) {
    return { data: Float32Array.from(data as unknown as ArrayLike<number>), shape: dims };
  }
  throw new ModelError(`run: expected numbers, got a tensor of ${output.type}`);
}

/** Sets to 0 what a row's queries have of keys beyond its length, the past included. */
export function clearPadding(
  { data, shape }: HookValues,
  { lengths, length }: PaddedBatch,
  { inputs }: ModelInputs,
): void {
  const [, nHeads = 0, nDest = 0, nSource = 0] = shape;
  const past = (inputs?.["attention_mask"]?.shape[1] ?? length) - length;
  lengths.forEach((tokens, row) => {
    for (let i = 0; i < nHeads * nDest; i++) {
      const start = (row * nHeads * nDest + i) * nSource;
      data.fill(0, start + Math.min(past + tokens, nSource), start + nSource);
    }
  });
}

/** What tells the graph which positions to return. @throws {ArgumentError} for positions outside the batch. */
export function addPositionFeeds(
  feeds: Record<string, Tensor>,
  names: readonly string[],
  { nRows, length, lengths }: PaddedBatch,
  posSlice: readonly number[] | undefined,
): void {
  if (names.includes(POSITIONS)) {
    const wrong = posSlice!.find((p) => !Number.isInteger(p) || p < -length || p >= length);
    if (wrong !== undefined) {
      throw new ArgumentError(
        `run: expected posSlice within ${-length}..${length - 1}, got ${wrong}`,
      );
    }
    const positions = BigInt64Array.from(posSlice!, (p) => BigInt(p < 0 ? length + p : p));
    feeds[POSITIONS] = new Tensor("int64", positions, [positions.length]);
  }
  for (const rank of [3, 4]) {
    const rest = Array.from({ length: rank - 2 }, () => 1);
    if (names.includes(`${TOKEN_MASK}${rank}`)) {
      const mask = new Uint8Array(nRows * length);
      lengths.forEach((n, row) => {
        mask.fill(1, row * length, row * length + n);
      });
      feeds[`${TOKEN_MASK}${rank}`] = new Tensor("bool", mask, [nRows, length, ...rest]);
    }
    if (names.includes(`${TOKEN_COUNT}${rank}`)) {
      const counts = Float32Array.from(lengths);
      feeds[`${TOKEN_COUNT}${rank}`] = new Tensor("float32", counts, [nRows, 1, ...rest]);
    }
    if (names.includes(`${LAST_TOKEN}${rank}`)) {
      const last = BigInt64Array.from(lengths, (n) => BigInt(n - 1));
      feeds[`${LAST_TOKEN}${rank}`] = new Tensor("int64", last, [nRows, 1, ...rest]);
    }
  }
}

/** At each position the token that comes next; the last position of a row scores nothing. */
export function nextTokens({ ids, nRows, length }: PaddedBatch): Tensor {
  const targets = new BigInt64Array(nRows * length);
  for (let row = 0; row < nRows; row++) {
    targets.set(ids.subarray(row * length + 1, (row + 1) * length), row * length);
  }
  return new Tensor("int64", targets, [nRows, length, 1]);
}

/** From "what comes next" at each position to "how likely was the token here". */
export function shiftLogProbs(output: Tensor, { nRows, length, lengths }: PaddedBatch): HookValues {
  const next = output.data as Float32Array;
  const data = new Float32Array(nRows * length);
  for (let row = 0; row < nRows; row++) {
    for (let pos = 1; pos < lengths[row]!; pos++) {
      data[row * length + pos] = next[row * length + pos - 1]!;
    }
  }
  return { data, shape: [nRows, length] };
}
