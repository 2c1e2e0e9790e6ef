// Indirect object: which heads write the name that was said once, where they look, and what is lost without them.
import {
  type DirectLogitAttribution,
  directLogitAttribution,
  getActName,
  getActPatchAttnHeadOutAllPos,
  getActPatchResidPre,
  type HookedModel,
  type Intervention,
  logitDiff,
  meanActivation,
  pathPatchSweep,
} from "@penfield/hooks";
import {
  type Estimate,
  estimate,
  type Head,
  headName,
  mean,
  removal,
  removalCells,
  show,
  topHeads,
  zHooks,
} from "./heads.ts";
import { type NamePrompts, namePrompts } from "./prompts.ts";

export interface NamesOptions {
  readonly templates: readonly string[];
  readonly heldOut: boolean;
  readonly bosToken: number;
  /** Prompts that heads are chosen on, and those that they are tested on. */
  readonly nSearch: number;
  readonly nTest: number;
  readonly nSets: number;
  /** Heads to choose. */
  readonly k: number;
  /** Prompts of the sweeps with the subject exchanged; 0: no sweeps. */
  readonly nSweep: number;
}

export async function names(model: HookedModel, options: NamesOptions) {
  const { nSearch, nTest, nSets, k, nSweep } = options;
  const { nHeads = 0 } = model.cfg;
  const test = namePrompts(model, { ...options, n: nTest, seed: 2 });
  const search = namePrompts(model, { ...options, n: nSearch, seed: 1, avoid: test.texts });

  const intact = await answers(model, test, test.clean);
  const [flipped, others] = [
    await answers(model, test, test.flipped),
    await answers(model, test, test.others),
  ];
  const behaviour = {
    clean: estimate(intact.difference),
    flipped: estimate(flipped.difference),
    others: estimate(others.difference),
    right: mean(intact.difference.map((d) => (d > 0 ? 1 : 0))),
    first: mean(intact.first.map(Number)),
    probability: estimate(intact.probability),
  };

  // Who writes it: path patching to the last residual stream, on the search prompts.
  const direct = await pathPatchSweep(model, {
    clean: search.clean,
    corrupted: search.others,
    metric: metricOf(search),
    receivers: [{ component: "resid_post" }],
  });
  const movers = topHeads(
    direct.effects.map((e) => -e),
    nHeads,
    k,
  );
  const against = topHeads(direct.effects, nHeads, 2);
  const looked = await attention(model, test, [...movers, ...against]);
  const confirmed = await directEffects(model, test, [...movers, ...against]);
  const shares = await directLogitAttribution(model, test.clean, {
    tokens: test.io,
    incorrectTokens: test.subject,
    unit: "head",
  });
  const shareOf = (label: string, from: DirectLogitAttribution = shares): Estimate => {
    const at = from.labels.indexOf(label) * nTest;
    return estimate(from.values.subarray(at, at + nTest));
  };
  // What a head writes for either name by itself, against a name that the prompt does not have.
  const forName = (tokens: readonly number[]) =>
    directLogitAttribution(model, test.clean, {
      tokens,
      incorrectTokens: test.absent,
      unit: "head",
    });
  const [toIo, toSubject] = [await forName(test.io), await forName(test.subject)];
  const written = [...movers, ...against].map((head) => ({
    io: shareOf(headName(head), toIo),
    subject: shareOf(headName(head), toSubject),
  }));
  const largest = shares.labels
    .filter((label) => /^L\d+H\d+$/.test(label))
    .map((label) => ({ label, share: shareOf(label) }))
    .sort((a, b) => Math.abs(b.share.mean) - Math.abs(a.share.mean))
    .slice(0, 5);

  // Without them.
  const reference = await meanActivation(model, search.others, zHooks(model), {
    perPosition: true,
  });
  const effect = async (interventions: readonly Intervention[]) => {
    const { difference } = await answers(model, test, test.clean, interventions);
    return difference.map((d, i) => intact.difference[i]! - d);
  };
  const zero = await removal(model, movers, { nSets, means: undefined, effect });
  const average = await removal(model, movers, { nSets, means: reference, effect });

  const exchanged =
    nSweep === 0 ? { lines: [], numbers: {} } : await exchange(model, search, movers[0]!, nSweep);
  const heading =
    "| head | direct effect, search | test prompts | attends to IO | to S1 | to S2 | writes for IO | for S |";
  return {
    lines: [
      `Prompts: ${test.diversity}. Search: ${nSearch} others.`,
      `Logit difference: ${show(behaviour.clean)}; subject exchanged ${show(behaviour.flipped)}; three other names ${show(behaviour.others)}`,
      `Right name above the other: ${(100 * behaviour.right).toFixed(1)} %; likeliest of all tokens: ${(100 * behaviour.first).toFixed(1)} %; probability ${show(behaviour.probability)}`,
      "",
      heading,
      "|---|---:|---:|---:|---:|---:|---:|---:|",
      ...[...movers, ...against].map((head, i) => {
        const { io, s1, s2 } = looked[i]!;
        return `| ${headName(head)} | ${direct.effects[head[0] * nHeads + head[1]]!.toFixed(2)} | ${show(confirmed[i]!)} | ${show(io)} | ${show(s1)} | ${show(s2)} | ${show(written[i]!.io)} | ${show(written[i]!.subject)} |`;
      }),
      "",
      `Direct attribution, largest heads: ${largest.map(({ label, share }) => `${label} ${show(share)}`).join("; ")}`,
      "",
      `| ${k} heads removed | logit difference falls by | ${nSets} random sets: mean (largest) | layer-matched: mean (largest) |`,
      "|---|---:|---:|---:|",
      `| to the mean of the prompts with other names | ${removalCells(average)} |`,
      `| to zero | ${removalCells(zero)} |`,
      "",
      ...exchanged.lines,
    ],
    numbers: {
      behaviour,
      movers: movers.map(headName),
      against: against.map(headName),
      confirmed,
      looked,
      written,
      largest,
      zero,
      average,
      ...exchanged.numbers,
    },
  };
}

/** The subject's second mention alone is exchanged: which heads and places carry it, and who tells `first`. */
async function exchange(model: HookedModel, search: NamePrompts, first: Head, nSweep: number) {
  const { nHeads = 0 } = model.cfg;
  // Whom the first of them listens to: heads -> its queries.
  const listens = await pathPatchSweep(model, {
    clean: search.clean.slice(0, nSweep),
    corrupted: search.flipped.slice(0, nSweep),
    metric: metricOf(search),
    receivers: [{ component: "q", layer: first[0], head: first[1] }],
    senders: Array.from({ length: first[0] * nHeads }, (_, i) => ({
      layer: Math.floor(i / nHeads),
      head: i % nHeads,
    })),
  });
  const speakers = topHeads(
    listens.effects.map((e) => -e),
    nHeads,
    3,
  );
  const speakersLook = await attention(model, search, speakers);
  // Exchange the subject's second mention alone: which heads, and which places, carry it.
  const some = {
    clean: search.clean.slice(0, nSweep),
    corrupted: search.flipped.slice(0, nSweep),
    metric: metricOf(search),
  };
  const heads = await getActPatchAttnHeadOutAllPos(model, some);
  const best = topHeads(heads.normalized, nHeads, 5);
  const streams = await getActPatchResidPre(model, some);
  const length = streams.shape[1]!;
  const at = (layer: number, p: number) => streams.normalized[layer * length + p]!;
  const s2 = search.places[0]!.s2;
  const handover = Array.from(
    { length: model.cfg.nLayers },
    (_, l) => [at(l, s2), at(l, length - 1)] as const,
  );

  return {
    lines: [
      `Heads -> queries of ${headName(first)}, subject exchanged: ${speakers.map((h, i) => `${headName(h)} ${listens.effects[h[0] * nHeads + h[1]]!.toFixed(2)} (attends to S2 ${speakersLook[i]!.s2.mean.toFixed(2)})`).join(", ")}`,
      `Subject exchanged, heads that restore most (${nSweep} prompts): ${best.map((h) => `${headName(h)} ${heads.normalized[h[0] * nHeads + h[1]]!.toFixed(2)}`).join(", ")}`,
      `Residual stream at the subject's second mention / at the end, by layer: ${handover.map(([a, b], l) => `${l}: ${a.toFixed(2)} / ${b.toFixed(2)}`).join("; ")}`,
    ],
    numbers: {
      speakers: speakers.map((h, i) => [
        headName(h),
        listens.effects[h[0] * nHeads + h[1]],
        speakersLook[i]!.s2.mean,
      ]),
      best: best.map(headName),
      handover,
    },
  };
}

const metricOf = ({ io, subject }: NamePrompts) =>
  logitDiff({ tokens: io, incorrectTokens: subject });

interface Answers {
  readonly difference: readonly number[];
  readonly probability: readonly number[];
  readonly first: readonly boolean[];
}

async function answers(
  model: HookedModel,
  { io, subject }: NamePrompts,
  tokens: readonly (readonly number[])[],
  interventions: readonly Intervention[] = [],
): Promise<Answers> {
  const { logits } = await model.run({
    tokens,
    interventions,
    wired: zHooks(model),
    head: "lastLogits",
  });
  const size = logits!.shape.at(-1)!;
  const rows = tokens.map((_, row) => logits!.data.subarray(row * size, (row + 1) * size));
  const largest = rows.map((scores) => scores.reduce((a, b) => Math.max(a, b)));
  return {
    difference: rows.map((scores, i) => scores[io[i]!]! - scores[subject[i]!]!),
    probability: rows.map((scores, i) => {
      const whole = scores.reduce((sum, x) => sum + Math.exp(x - largest[i]!), 0);
      return Math.exp(scores[io[i]!]! - largest[i]!) / whole;
    }),
    first: rows.map((scores, i) => scores[io[i]!] === largest[i]),
  };
}

/** The direct effect of some heads prompt by prompt: sweeps give means only. */
async function directEffects(
  model: HookedModel,
  prompts: NamePrompts,
  heads: readonly Head[],
): Promise<Estimate[]> {
  const effects: Float64Array[] = [];
  for (const [i, clean] of prompts.clean.entries()) {
    const { effects: own } = await pathPatchSweep(model, {
      clean: [clean],
      corrupted: [prompts.others[i]!],
      metric: logitDiff({ tokens: prompts.io[i]!, incorrectTokens: prompts.subject[i]! }),
      receivers: [{ component: "resid_post" }],
      senders: heads.map(([layer, head]) => ({ layer, head })),
    });
    effects.push(own);
  }
  return heads.map((_, h) => estimate(effects.map((own) => own[h]!)));
}

/** Attention of heads from the last token to the names. */
async function attention(
  model: HookedModel,
  prompts: NamePrompts,
  heads: readonly Head[],
): Promise<Record<"io" | "s1" | "s2", Estimate>[]> {
  const hooks = [...new Set(heads.map(([layer]) => getActName("pattern", layer)))];
  const { cache } = await model.run({ tokens: prompts.clean, capture: hooks, head: "none" });
  return heads.map(([layer, head]) => {
    const { data, shape } = cache.get(getActName("pattern", layer))!;
    const [, nHeads, n] = shape as [number, number, number];
    const to = (name: "io" | "s1" | "s2"): Estimate =>
      estimate(
        prompts.places.map(
          (place, row) => data[((row * nHeads + head) * n + n - 1) * n + place[name]]!,
        ),
      );
    return { io: to("io"), s1: to("s1"), s2: to("s2") };
  });
}
