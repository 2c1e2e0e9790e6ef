import { ArgumentError } from "@penfield/core";
import { getActName } from "../hookPoint.ts";
import type { HookedModel } from "../transformer/model.ts";
import { type Circuit, type CircuitNode, circuitOf } from "./circuitFile.ts";
import { type CircuitOptions, Knockouts, type Lesion } from "./knockouts.ts";

/** What was decided about one part. */
export interface DiscoveryStep {
  readonly node: CircuitNode;
  /** F without it, all that was dropped before it left out too. */
  readonly value: number;
  readonly kept: boolean;
}

export interface DiscoveredCircuit {
  readonly circuit: Circuit;
  /** In the order in which the parts were tried. */
  readonly steps: readonly DiscoveryStep[];
  /** F(M): nothing is knocked out. */
  readonly model: number;
  /** F of the circuit that was found. */
  readonly value: number;
}

/**
 * Drops part after part of a model, from the last layer to the first, as long as its behaviour stays: the
 * greedy search of ACDC, over nodes and not over edges.
 *
 *   v is dropped if |F(M) - F(C \ {v})| - |F(M) - F(C)| < threshold
 *
 * What is found depends on the order; parts that can stand in for each other lose all but the last.
 *
 * @param options.threshold - In the metric's units.
 * @param options.nodes - Parts to try, in this order. Default: every MLP and every head, the last layer
 *   first.
 * @throws as `faithfulness`; {ArgumentError} if the threshold is no number, or heads are not known.
 *
 * Cost: at least nPrompts rows per part. Parts that follow each other are tried as rows of one run that
 * assumes all of them are dropped; what follows one that is kept is run again. The result is that of
 * trying them one by one.
 * Source: Conmy et al. (2023), arXiv 2304.14997.
 *
 * @example
 * const model = await HookedModel.fromPretrained("test/fixtures/gpt2");
 * const { circuit } = await discoverCircuit(model, {
 *   tokens: [[5, 9, 7, 3]], reference: [[6, 1, 7, 3]], method: "resample",
 *   metric: logitDiff({ tokens: 11, incorrectTokens: 12 }), threshold: 1000,
 * });
 * circuit.nodes // => []
 * await model.dispose();
 */
export async function discoverCircuit(
  model: HookedModel,
  options: CircuitOptions & {
    readonly threshold: number;
    readonly nodes?: readonly CircuitNode[] | undefined;
  },
): Promise<DiscoveredCircuit> {
  const name = "discoverCircuit";
  const { threshold, onProgress } = options;
  if (typeof threshold !== "number" || Number.isNaN(threshold)) {
    throw new ArgumentError(`${name}: expected a threshold, got ${threshold}`);
  }
  const nodes = options.nodes ?? allNodes(model, name);
  const knockouts = await Knockouts.open(model, circuitOf(model, nodes), options, name);
  const without = (dropped: readonly number[]): Lesion => ({
    kind: "keep",
    nodes: knockouts.without(dropped),
  });
  const [whole, start] = (await knockouts.measure([
    { kind: "remove", nodes: [] },
    without([]),
  ])) as [number, number];
  const dropped: number[] = [];
  const steps: DiscoveryStep[] = [];
  let value = start;
  // More are tried at once while they go, fewer where they stay.
  let ahead = 4;
  while (steps.length < nodes.length) {
    const next = steps.length;
    const n = Math.min(ahead, nodes.length - next);
    const values = await knockouts.measure(
      Array.from({ length: n }, (_, i) =>
        without([...dropped, ...Array.from({ length: i + 1 }, (_, j) => next + j)]),
      ),
    );
    ahead = Math.min(64, ahead * 2);
    for (const [i, tried] of values.entries()) {
      const kept = !(Math.abs(whole - tried) - Math.abs(whole - value) < threshold);
      steps.push({ node: nodes[next + i]!, value: tried, kept });
      if (kept) {
        // The values after it were measured without it.
        ahead = Math.max(1, i + 1);
        break;
      }
      dropped.push(next + i);
      value = tried;
    }
    const done = steps.length;
    onProgress?.({ stage: "dropping parts", done, total: nodes.length, unit: "parts" });
  }
  const found = steps.flatMap((step) => (step.kept ? [step.node] : [])).reverse();
  return { circuit: circuitOf(model, found), steps, model: whole, value };
}

function allNodes(model: HookedModel, name: string): CircuitNode[] {
  const { nLayers, nHeads } = model.cfg;
  if (nHeads === undefined) {
    throw new ArgumentError(`${name}: expected a model whose number of heads is known, got none`, {
      hint: "Give the nodes to try.",
    });
  }
  return Array.from({ length: nLayers }, (_, i) => nLayers - 1 - i).flatMap((layer) => {
    const mlp = getActName("mlp_out", layer);
    const hasMlp = model.hookPoints.some((point) => point.name === mlp);
    const hook = getActName("z", layer);
    const heads = Array.from({ length: nHeads }, (_, i) => ({ hook, head: nHeads - 1 - i }));
    return hasMlp ? [{ hook: mlp }, ...heads] : heads;
  });
}
