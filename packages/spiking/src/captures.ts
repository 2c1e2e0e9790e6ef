import { ArgumentError, HookPointError } from "@penfield/core";
import { requireList } from "./interventions.ts";
import type { SpikingCapture, SpikingHookPoint } from "./model.ts";

/** What a model has that can be captured. */
interface Hooked {
  listHooks(pattern: string): SpikingHookPoint[];
  hookPoint(name: string): SpikingHookPoint;
}

/**
 * The hook points that are captured, and how. What is said of one by name counts, whatever patterns say beside it.
 *
 * @throws {HookPointError} for one that does not exist or holds no values in time, {ArgumentError} for two captures of
 * one hook point that differ, or units that it does not have.
 */
export function chooseCaptures(
  wanted: readonly (string | SpikingCapture)[],
  model: Hooked,
): Map<SpikingHookPoint, SpikingCapture> {
  const chosen = new Map<SpikingHookPoint, { capture: SpikingCapture; named: boolean }>();
  for (const one of wanted) {
    const capture: SpikingCapture = typeof one === "string" ? { hook: one } : one;
    const found = capture.hook.includes("*")
      ? model.listHooks(capture.hook).filter((h) => h.readable && h.kind !== "weight")
      : [];
    const named = found.length === 0;
    for (const hook of named ? [model.hookPoint(capture.hook)] : found) {
      const before = chosen.get(hook);
      if (before?.named && !named) continue;
      if (before && before.named === named && partOf(before.capture) !== partOf(capture)) {
        throw new ArgumentError(
          `run: ${hook.name}: expected one capture of a hook point, got several that differ`,
          { hint: "Capture the whole and take the parts, or run once for each." },
        );
      }
      check(hook, capture);
      chosen.set(hook, { capture, named });
    }
  }
  return new Map(Array.from(chosen, ([hook, { capture }]) => [hook, capture]));
}

const partOf = ({ units, from, to, every, as }: SpikingCapture): string =>
  JSON.stringify([units && Array.from(units), from, to, every, as ?? "dense"]);

function check(hook: SpikingHookPoint, { units, as = "dense" }: SpikingCapture): void {
  if (hook.kind === "weight" || hook.kind === "edge") {
    throw new HookPointError(`run: expected values in time to capture, got ${hook.name}`, {
      hint: hook.kind === "weight" ? "Read weights by model.weights(hook)." : undefined,
    });
  }
  if (as !== "dense" && as !== "events") {
    throw new ArgumentError(
      `run: ${hook.name}: expected as of dense, events, got ${JSON.stringify(as)}`,
    );
  }
  if (units !== undefined) requireList(`run: ${hook.name}: expected units`, units);
  if (hook.nUnits !== undefined) requireUnits(hook.name, units, hook.nUnits);
}

/** Units that a hook point has. */
export function requireUnits(
  hook: string,
  units: ArrayLike<number> | undefined,
  nUnits: number,
): void {
  const wrong = Array.from(units ?? []).find((u) => !(Number.isInteger(u) && u >= 0 && u < nUnits));
  if (wrong === undefined) return;
  throw new ArgumentError(`run: ${hook}: expected units within 0..${nUnits - 1}, got ${wrong}`);
}
