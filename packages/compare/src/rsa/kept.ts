import { sha256 } from "@penfield/core";

/**
 * Where finished parts of long work are kept. A part is found again by the same call on the same data alone: its key says
 * both. A store may forget; it must not give another value than was put.
 */
export interface PartStore {
  getJson(key: string): Promise<unknown>;
  putJson(key: string, value: unknown): Promise<void>;
}

/** Work that can go on where it was interrupted. */
export interface Resumable {
  /** Keeps finished draws: the same call with the same store goes on with them, to the same result. Default: nothing is kept. */
  readonly keep?: PartStore | undefined;
}

/** Names a call by all that its result depends on: arrays by their bytes, the rest as JSON. */
export function callKey(name: string, inputs: readonly unknown[]): string {
  const parts = inputs.map((input) =>
    JSON.stringify(input, (_, value: unknown) =>
      ArrayBuffer.isView(value)
        ? sha256(new Uint8Array(value.buffer, value.byteOffset, value.byteLength))
        : typeof value === "number" && !Number.isFinite(value)
          ? String(value)
          : value,
    ),
  );
  return `${name} ${sha256(JSON.stringify(parts))}`;
}

/** Numbers that were kept, or that work makes and that are kept now. Bit by bit the same, NaN as well. */
export async function keptNumbers(
  keep: PartStore | undefined,
  key: string,
  length: number,
  work: () => Promise<Float64Array>,
): Promise<Float64Array> {
  const known = await keep?.getJson(key);
  if (typeof known === "string") {
    const bytes = Buffer.from(known, "base64");
    if (bytes.length === 8 * length) {
      return new Float64Array(Uint8Array.from(bytes).buffer);
    }
  }
  const made = await work();
  const bytes = Buffer.from(made.buffer, made.byteOffset, made.byteLength);
  await keep?.putJson(key, bytes.toString("base64"));
  return made;
}
