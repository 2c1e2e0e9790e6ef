import {
  type Estimated,
  type LesionExperiment,
  lesionEffect,
  type TaskOutcome,
} from "@penfield/ablate";
import type { CrossValidation } from "@penfield/localize";
import type { AlignmentSection, Verdict } from "@penfield/report";
import { pooled, type RatedTasks } from "./sections/dissociation.ts";
import type { TaskRole } from "./tasks.ts";

const percent = (value: number): string => `${(100 * value).toFixed(1)}`;
const points = ({ value, interval }: Estimated): string =>
  `${percent(value)} points${interval ? ` (95 % interval ${percent(interval[0])} to ${percent(interval[1])})` : ""}`;

/** Are the units selective on stimuli that did not choose them? */
export function selectivityVerdict(expectation: string, heldOut: CrossValidation): Verdict {
  const { selected, random, difference } = heldOut;
  const text = `On held-out stimuli the selected units differ by d = ${selected.estimate.toFixed(2)} between conditions (95 % interval ${selected.low.toFixed(2)} to ${selected.high.toFixed(2)}), random units by ${random.estimate.toFixed(2)}.`;
  const outcome = difference.low > 0 ? "seen" : difference.high < 0 ? "not seen" : "undecided";
  return { expectation, outcome, text };
}

/**
 * Does silencing the units harm tasks of a role more than silencing random ones does? Harm is the
 * change in accuracy over the items of the role's tasks that the intact model can do, at the main dose.
 *
 * @param name - What the verdict calls the tasks.
 */
export function harmVerdict(
  expectation: string,
  experiment: LesionExperiment,
  rated: RatedTasks,
  role: "language" | "control",
  expected: "harmed" | "spared",
  seed: number,
  name = `${role} tasks`,
): Verdict | undefined {
  const { baseline, runs, mainDose } = experiment;
  const values = (outcomes: readonly TaskOutcome[]): Float64Array => pooled(outcomes, rated, role);
  const nTasks = rated.roles.filter((r) => r === role).length;
  if (nTasks === 0) return undefined;
  if (values(baseline).length < 2) {
    const text = `The intact model does none of the ${nTasks} ${name} better than by guessing: it has nothing to lose.`;
    return { expectation, outcome: "undecided", text };
  }
  const main = runs.filter((run) => run.dose === mainDose);
  const localized = main.find((run) => run.set === "localized")!;
  const random = main.filter((run) => run.set === "random").map((run) => values(run.outcomes));
  const effect = lesionEffect(values(baseline), values(localized.outcomes), random, true, seed);
  const nAble = rated.roles.filter((r, i) => r === role && rated.able[i]).length;
  const beyond = Math.round(effect.p * (effect.nRandom + 1)) - 1;
  const text = `Silencing ${localized.units.indices.length} units (${mainDose} %) changes accuracy on ${name} (${nAble} of ${nTasks} that the intact model does above chance) by ${points(effect.effect)}; ${effect.nRandom} random sets change it by ${percent(effect.randomMean)} ± ${percent(effect.randomSd)} points, and ${beyond} of them do at least as much harm (p = ${effect.p.toFixed(3)}).`;
  const high = effect.effect.interval?.[1] ?? Number.NaN;
  // "Harmed" asks for more than chance over items, and for more than any random set does.
  const harmed = high < 0 && beyond === 0;
  const clearlyNot = beyond > effect.nRandom / 4;
  const outcome =
    expected === "harmed"
      ? harmed
        ? "seen"
        : clearlyNot
          ? "not seen"
          : "undecided"
      : harmed
        ? "not seen"
        : clearlyNot
          ? "seen"
          : "undecided";
  return { expectation, outcome, text };
}

/** Does silencing the units make running text less predictable than silencing random ones does? */
export function textVerdict(
  expectation: string,
  experiment: LesionExperiment,
  roles: readonly TaskRole[],
  seed: number,
): Verdict | undefined {
  const { baseline, runs, mainDose } = experiment;
  const values = (outcomes: readonly TaskOutcome[]): Float64Array =>
    Float64Array.from(
      outcomes.flatMap((outcome, i) => (roles[i] === "text" ? [...outcome.values] : [])),
    );
  if (values(baseline).length < 2) return undefined;
  const main = runs.filter((run) => run.dose === mainDose);
  const localized = main.find((run) => run.set === "localized")!;
  const random = main.filter((run) => run.set === "random").map((run) => values(run.outcomes));
  const { effect, randomMean, randomSd, nRandom, p } = lesionEffect(
    values(baseline),
    values(localized.outcomes),
    random,
    false,
    seed,
  );
  const beyond = Math.round(p * (nRandom + 1)) - 1;
  const nats = (value: number): string => `${value >= 0 ? "+" : ""}${value.toFixed(3)}`;
  const text = `Silencing ${localized.units.indices.length} units (${mainDose} %) changes the loss on running text by ${nats(effect.value)} nats per token${effect.interval ? ` (95 % interval ${nats(effect.interval[0])} to ${nats(effect.interval[1])})` : ""}; ${nRandom} random sets change it by ${nats(randomMean)} ± ${randomSd.toFixed(3)}, and ${beyond} of them do at least as much harm (p = ${p.toFixed(3)}).`;
  const harmed = (effect.interval?.[0] ?? Number.NaN) > 0 && beyond === 0;
  return {
    expectation,
    outcome: harmed ? "seen" : beyond > nRandom / 4 ? "not seen" : "undecided",
    text,
  };
}

/** Do the units match the recording better than random units? */
export function alignmentVerdict(expectation: string, section: AlignmentSection): Verdict {
  const localized = section.rows.find((row) => row.set === "localized")!;
  const random = section.rows.find((row) => row.set === "random")!;
  const score = (value: number | null): string => (value === null ? "undefined" : value.toFixed(3));
  const text = `${localized.nUnits} localized units predict ${section.recording.simulated ? "the simulated recording" : section.recording.name} with a median held-out r of ${score(localized.score.value)}, random sets of the same size with ${score(random.score.value)} (p = ${section.p === null ? "undefined" : section.p.toFixed(3)}).`;
  const draws = random.draws.filter((d) => d !== null);
  const reached = draws.filter((d) => d >= (localized.score.value ?? Number.NaN)).length;
  const outcome = reached === 0 ? "seen" : reached > draws.length / 4 ? "not seen" : "undecided";
  return { expectation, outcome, text };
}
