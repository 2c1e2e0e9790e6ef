import { ArgumentError } from "@penfield/core";

/** Every choice that NIR leaves open, and that simulators make differently. */
export interface SimulationOptions {
  /**
   * How a leaky equation becomes a step. `euler`: `v += dt/tau (vLeak - v + R x)`. `exact`: the solution
   * for an input that holds through the step, `v = vLeak + R x + (v - vLeak - R x) exp(-dt/tau)`. `jump`: leak
   * exactly, then add the input as a jump of `dt/tau R x`.
   */
  readonly scheme: "euler" | "exact" | "jump";
  /**
   * What a spike does to the membrane: set it to the node's `v_reset`, to `zero`, `subtract` (`threshold - v_reset`), or
   * `subtract_snntorch` (`threshold`): the threshold is compared with `v - threshold` while the last recorded v was
   * above it, so a unit that stays above is vetoed.
   */
  readonly reset: "v_reset" | "zero" | "subtract" | "subtract_snntorch";
  /**
   * `same`: threshold and reset in the step in which v rises. `next`: a spike shows, and takes its threshold
   * off (`subtract` only), one step later: after the leak of that step, of CubaLIF before it.
   */
  readonly spikeStep: "same" | "next";
  readonly threshold: ">" | ">=";
  /** As many spikes in a step as thresholds fit into v (`floor(v / threshold)`). */
  readonly multiSpike: boolean;
  /** Whether the membrane of CubaLIF and CubaLI sees the synaptic current of this step or of the last one. */
  readonly cuba: "new" | "old";
  /** What integrators without leak (IF, I) add: `R x dt`, or `R x` whatever dt is. */
  readonly integrate: "dt" | "step";
  /** Lowest membrane of IF: `-threshold`, or none. */
  readonly floor: "none" | "-threshold";
  /** Where the membranes of LIF, CubaLIF and IF begin: at 0, or at the node's `v_reset`. */
  readonly start: "zero" | "v_reset";
  /**
   * What a delayed edge carries in the first step: its source `apply`ed to silence (a bias acts at once), or
   * `zero`.
   */
  readonly recurrentStart: "apply" | "zero";
  /**
   * Where cycles are cut: the edges named here carry the value of the step before. Default: the back
   * edges of a depth-first walk from the inputs, in the order of the file.
   */
  readonly delayedEdges: readonly (readonly [source: string, target: string])[] | undefined;
}

const SPEC: SimulationOptions = {
  scheme: "euler",
  reset: "v_reset",
  spikeStep: "same",
  threshold: ">",
  multiSpike: false,
  cuba: "new",
  integrate: "dt",
  floor: "none",
  start: "zero",
  recurrentStart: "apply",
  delayedEdges: undefined,
};

export type PresetName =
  | "spec"
  | "snntorch"
  | "norse"
  | "nengo"
  | "sinabs"
  | "rockpool"
  | "spyx"
  | "spinnaker2"
  | "spikingjelly";

/**
 * The conventions of simulators, as their importers of NIR set them.
 *
 * Shown spike for spike on published recordings: `snntorch` and `norse` (single LIF and recurrent CubaLIF),
 * `nengo`, `sinabs`, `rockpool`, `spyx`, `spinnaker2` (single LIF); and beside the simulators themselves, run by
 * `test/golden/make_spiking.py`: LIF and CubaLIF of snnTorch, Norse, Sinabs, Spyx and SpikingJelly, IF of Sinabs and
 * SpikingJelly, CubaLIF of Rockpool. CubaLIF of Nengo has no recording.
 */
export const presets: Readonly<Record<PresetName, SimulationOptions>> = {
  spec: SPEC,
  snntorch: { ...SPEC, reset: "zero", integrate: "step" },
  norse: { ...SPEC, reset: "zero", integrate: "step", recurrentStart: "zero" },
  nengo: { ...SPEC, scheme: "exact", reset: "zero" },
  sinabs: {
    ...SPEC,
    scheme: "jump",
    reset: "subtract",
    threshold: ">=",
    multiSpike: true,
    integrate: "step",
    floor: "-threshold",
  },
  rockpool: { ...SPEC, scheme: "jump", reset: "subtract", threshold: ">=", multiSpike: true },
  spyx: { ...SPEC, reset: "subtract", spikeStep: "next" },
  spinnaker2: { ...SPEC, reset: "zero" },
  spikingjelly: { ...SPEC, threshold: ">=", start: "v_reset" },
};

const ALLOWED: { readonly [K in keyof SimulationOptions]?: readonly unknown[] } = {
  scheme: ["euler", "exact", "jump"],
  reset: ["v_reset", "zero", "subtract", "subtract_snntorch"],
  spikeStep: ["same", "next"],
  threshold: [">", ">="],
  multiSpike: [true, false],
  cuba: ["new", "old"],
  integrate: ["dt", "step"],
  floor: ["none", "-threshold"],
  start: ["zero", "v_reset"],
  recurrentStart: ["apply", "zero"],
};

/**
 * A preset with changes.
 *
 * @throws {ArgumentError} for an unknown preset or option, a value that it does not have, or options that contradict
 * each other.
 *
 * @example
 * resolveOptions("nengo", { threshold: ">=" }).scheme // => "exact"
 */
export function resolveOptions(
  preset: PresetName = "spec",
  changes: Partial<SimulationOptions> = {},
): SimulationOptions {
  if (!Object.hasOwn(presets, preset)) {
    throw new ArgumentError(
      `SpikingModel: expected a preset of ${Object.keys(presets).join(", ")}, got ${JSON.stringify(preset)}`,
    );
  }
  const options: SimulationOptions = { ...presets[preset], ...changes };
  for (const [name, value] of Object.entries(options)) {
    if (name === "delayedEdges") continue;
    const allowed = ALLOWED[name as keyof SimulationOptions];
    if (!allowed) {
      throw new ArgumentError(
        `SpikingModel: expected options of ${Object.keys(SPEC).join(", ")}, got ${JSON.stringify(name)}`,
      );
    }
    if (!allowed.includes(value)) {
      throw new ArgumentError(
        `SpikingModel: expected ${name} of ${allowed.map((v) => JSON.stringify(v)).join(", ")}, got ${JSON.stringify(value)}`,
      );
    }
  }
  if (options.spikeStep === "next" && (options.reset !== "subtract" || options.multiSpike)) {
    throw new ArgumentError(
      `SpikingModel: expected reset "subtract" and single spikes with spikeStep "next", got ${options.reset}${options.multiSpike ? " and multiSpike" : ""}`,
    );
  }
  if (options.reset === "subtract_snntorch" && options.multiSpike) {
    throw new ArgumentError(
      `SpikingModel: expected single spikes with reset "subtract_snntorch", got multiSpike`,
    );
  }
  return options;
}
