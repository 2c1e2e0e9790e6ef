import { FormatError } from "@penfield/core";
import { z } from "zod";
import type { NpyType } from "./npyFile.ts";

/** Which places of a text are stored: each token, its last one, or the mean over its tokens. */
export type Positions = "all" | "last" | "mean";

/** Numbers on disk. */
export type StoreType = "float32" | "float16";

export const npyTypeOf: Readonly<Record<StoreType, NpyType>> = { float32: "<f4", float16: "<f2" };

const count = z.int().nonnegative();
const positive = z.int().positive();
const sha256 = z.string().regex(/^[0-9a-f]{64}$/, "64 hexadecimal digits");
/** A name that is one path segment, without a leading dot. */
const HOOK_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$/;
const hookName = z.string().regex(HOOK_NAME, "a hook point's name, without folders");
const range = z
  .tuple([count, count])
  .refine(([from, to]) => from < to, "a range that holds something");

/** A hook point as a store holds it. */
export interface StoredHook {
  readonly name: string;
  /** Of one row, as the hook point calls them. */
  readonly axes: readonly string[];
  readonly shape: readonly number[];
  /** Values in a row: the product of `shape`. */
  readonly nUnits: number;
  /** Its file in each shard. */
  readonly file: string;
}

/** A folder with some of the rows; ranges include their start and not their end. */
export interface Shard {
  readonly folder: string;
  readonly texts: readonly [number, number];
  readonly rows: readonly [number, number];
  readonly tokens: readonly [number, number];
}

/** What `index.json` says: everything but the values. It is written first and never changed. */
export interface StoreIndex {
  readonly format: "penfield-activations";
  readonly version: 1;
  readonly model: {
    readonly name: string;
    readonly sha256: string;
    /** Of a spiking network: seconds of a step, and the conventions it is run by. The same file is another network with others. */
    readonly dt?: number;
    readonly conventions?: Readonly<Record<string, unknown>>;
  };
  readonly hooks: readonly StoredHook[];
  /** The hash is of ids and tokens; of recordings of ids and all values. */
  readonly corpus: {
    readonly sha256: string;
    readonly nTexts: number;
    readonly nTokens: number;
  };
  readonly options: {
    readonly positions: Positions;
    readonly dtype: StoreType;
    readonly maxTokens: number | null;
    readonly prependBos: boolean | null;
    readonly longTexts: "refuse" | "split";
    readonly batchTokens: number;
    readonly bufferBytes: number;
    readonly shardBytes: number;
    readonly shardTokens: number;
  };
  readonly nRows: number;
  readonly shards: readonly Shard[];
}

const schema: z.ZodType<StoreIndex> = z.strictObject({
  format: z.literal("penfield-activations"),
  version: z.literal(1),
  model: z.strictObject({
    name: z.string(),
    sha256,
    dt: z.exactOptional(z.number().positive()),
    conventions: z.exactOptional(z.record(z.string(), z.json())),
  }),
  hooks: z
    .array(
      z.strictObject({
        name: hookName,
        axes: z.array(z.string()).min(1),
        shape: z.array(positive).min(1),
        nUnits: positive,
        file: z.string(),
      }),
    )
    .min(1),
  corpus: z.strictObject({ sha256, nTexts: positive, nTokens: positive }),
  options: z.strictObject({
    positions: z.enum(["all", "last", "mean"]),
    dtype: z.enum(["float32", "float16"]),
    maxTokens: positive.nullable(),
    prependBos: z.boolean().nullable(),
    longTexts: z.enum(["refuse", "split"]),
    batchTokens: positive,
    bufferBytes: positive,
    shardBytes: positive,
    shardTokens: positive,
  }),
  nRows: positive,
  shards: z
    .array(z.strictObject({ folder: z.string(), texts: range, rows: range, tokens: range }))
    .min(1),
});

export const INDEX = "index.json";
export const TEXTS = "texts.jsonl";

/** The folder of a shard. */
export const shardFolder = (shard: number): string => `shard-${String(shard).padStart(5, "0")}`;

/** Whether a hook point's name can be that of a file. */
export const isHookName = (name: string): boolean => HOOK_NAME.test(name);

/** The file of a hook point in each shard. */
export const hookFile = (name: string): string => `${name}.npy`;

/**
 * Reads `index.json` and refuses what contradicts itself.
 *
 * @throws {FormatError} with the field.
 */
export function parseIndex(text: string, file: string): StoreIndex {
  const fail = (what: string): never => {
    throw new FormatError(`openActivations: ${file}: ${what}`, {
      hint: "The file was changed, or written by another version of Penfield.",
    });
  };
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    fail(`expected JSON, got ${(cause as Error).message}`);
  }
  const parsed = schema.safeParse(value);
  if (!parsed.success) {
    const issue = parsed.error.issues[0]!;
    return fail(`${issue.path.join(".") || "the whole"}: ${issue.message}`);
  }
  const index = parsed.data;
  const names = new Set<string>();
  for (const { name, shape, axes, nUnits, file: stored } of index.hooks) {
    if (names.has(name)) fail(`hooks: expected each name once, got ${name} twice`);
    names.add(name);
    if (stored !== hookFile(name))
      fail(`hooks: expected the file ${hookFile(name)}, got ${stored}`);
    if (shape.length !== axes.length || shape.reduce((a, b) => a * b, 1) !== nUnits) {
      fail(`hooks: ${name}: expected sizes that multiply to ${nUnits}, got [${shape.join(", ")}]`);
    }
  }
  const end: Record<"texts" | "rows" | "tokens", number> = { texts: 0, rows: 0, tokens: 0 };
  index.shards.forEach((shard, i) => {
    if (shard.folder !== shardFolder(i)) {
      fail(`shards: expected the folder ${shardFolder(i)}, got ${shard.folder}`);
    }
    for (const key of ["texts", "rows", "tokens"] as const) {
      const [from, to] = shard[key];
      if (from !== end[key])
        fail(`shards: ${shard.folder}: expected ${key} from ${end[key]}, got ${from}`);
      end[key] = to;
    }
  });
  const { nTexts, nTokens } = index.corpus;
  const nRows = index.options.positions === "all" ? nTokens : nTexts;
  if (index.nRows !== nRows) fail(`nRows: expected ${nRows}, got ${index.nRows}`);
  if (end.texts !== nTexts || end.tokens !== nTokens || end.rows !== nRows) {
    fail(
      `shards: expected ${nTexts} texts, ${nTokens} tokens and ${nRows} rows, got ${end.texts}, ${end.tokens} and ${end.rows}`,
    );
  }
  return index;
}

/** Which parts of two indices differ, in words; empty if they are the same. */
export function differences(old: StoreIndex, wanted: StoreIndex): string[] {
  const same = (a: unknown, b: unknown) => JSON.stringify(a) === JSON.stringify(b);
  const parts: string[] = [];
  if (!same(old.model.sha256, wanted.model.sha256)) {
    parts.push(`another model (${old.model.name}, sha256 ${old.model.sha256.slice(0, 12)})`);
  } else if (!same(old.model.dt, wanted.model.dt)) parts.push(`a dt of ${old.model.dt} s`);
  else if (!same(old.model.conventions, wanted.model.conventions)) {
    parts.push("conventions of another simulator, or another precision");
  }
  if (!same(old.corpus, wanted.corpus)) {
    parts.push(`another corpus (${old.corpus.nTexts} texts, ${old.corpus.nTokens} tokens)`);
  }
  if (!same(old.hooks, wanted.hooks)) {
    parts.push(`other hook points (${old.hooks.map(({ name }) => name).join(", ")})`);
  }
  for (const [key, value] of Object.entries(old.options)) {
    if (!same(value, wanted.options[key as keyof StoreIndex["options"]])) {
      parts.push(`${key} ${JSON.stringify(value)}`);
    }
  }
  if (parts.length === 0 && !same(old.shards, wanted.shards)) parts.push("other shards");
  return parts;
}
