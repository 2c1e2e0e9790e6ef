/**
 * What is done to the values at a hook point. Interventions are data: they can be written to a
 * file, and they are fed to one compiled session as inputs.
 *
 * - `zero`: silence.
 * - `constant`: set to a value.
 * - `mean`: set to given values, one per unit of the hook point (the mean over a reference set).
 * - `resample`, `patch`: take the values of other rows of the same batch; `source[row]` is the row
 *   that the values come from.
 * - `scale`: multiply.
 * - `add`: add one value, or one per unit (steering).
 * - `noise`: add seeded normal noise with the given standard deviation.
 * - `clamp`: keep within `min` and `max`.
 * - `project`: take out of the units' vector its part in the space that the directions span (they need
 *   be neither orthogonal nor of length 1); with `heads`, directions of one head's length.
 * - `attendFirst`: at `hook_pattern`, all attention goes to the first position (knocks a head out
 *   without taking away what it writes by default).
 */
export type InterventionOp =
  | { readonly type: "zero" }
  | { readonly type: "constant"; readonly value: number }
  | { readonly type: "mean"; readonly values: ArrayLike<number> }
  | { readonly type: "resample" | "patch"; readonly source: ArrayLike<number> }
  | { readonly type: "scale"; readonly factor: number }
  | { readonly type: "add"; readonly value: number | ArrayLike<number> }
  | { readonly type: "noise"; readonly standardDeviation: number; readonly seed: number }
  | { readonly type: "clamp"; readonly min?: number; readonly max?: number }
  | { readonly type: "project"; readonly directions: readonly ArrayLike<number>[] }
  | { readonly type: "attendFirst" };

/** One change at one hook point. Where `units`, `heads`, `positions` or `rows` is absent, it means all. */
export interface Intervention {
  /** A hook point's name or alias. */
  readonly hook: string;
  readonly op: InterventionOp;
  /** Places on the last axis; at hook points with a `head_index` axis, places within each head. */
  readonly units?: ArrayLike<number>;
  /** For `attn.hook_z`: whole heads, in place of `units`. At q, k, v, scores and patterns: which heads. */
  readonly heads?: ArrayLike<number>;
  /** Token positions, counted from 0; of scores and patterns the destinations (`units` are the sources). */
  readonly positions?: ArrayLike<number>;
  /** Rows of the batch. */
  readonly rows?: ArrayLike<number>;
}

/** The kinds of graph inputs that an intervention may need at a hook point, in the order of their effect. */
const SLOTS = ["patch", "set", "project", "affine", "clamp"] as const;
export type Slot = (typeof SLOTS)[number];

/** Which slot an operation is fed through. */
export const slotOf: Record<InterventionOp["type"], Slot> = {
  zero: "set",
  constant: "set",
  mean: "set",
  resample: "patch",
  patch: "patch",
  scale: "affine",
  add: "affine",
  noise: "affine",
  clamp: "clamp",
  project: "project",
  attendFirst: "set",
};
