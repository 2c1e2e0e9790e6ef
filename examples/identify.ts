// If we got it right, would we know? Four kinds of random networks take turns as the brain, in another seed than the
// one that is scored: how often does each method name the right kind? npm run -s example -- identify
import { type IdentifyMethod, identify, ridgeMethod } from "@penfield/align";
import { calcRdm, cka, compareRdms } from "@penfield/compare";
import { type Activations, createRng, tensor } from "@penfield/core";
import { createLinalg } from "@penfield/linalg";

const N_STIMULI = 200;
const N_INPUTS = 20;
const N_UNITS = 100;
/** Brains of each kind: npm run -s example -- identify 9 is what docs/results/identification.md shows. */
const N_BRAINS = Number(process.argv[2] ?? 2);
const linalg = createLinalg();

const kinds: Record<string, (v: number) => number> = {
  linear: (v) => v,
  relu: (v) => Math.max(0, v),
  tanh: Math.tanh,
  absolute: Math.abs,
};

/** The same stimuli for all: Gaussian, or sparse (one input in ten is not 0). */
function stimuli(sparse: boolean): Float64Array {
  const rng = createRng(1);
  return Float64Array.from({ length: N_STIMULI * N_INPUTS }, () =>
    sparse && rng.uniform() > 0.1 ? 0 : rng.normal(),
  );
}

/** One layer with random weights and a nonlinearity. */
function network(inputs: Float64Array, of: (v: number) => number, seed: number): Activations {
  const rng = createRng(seed);
  const weights = Float64Array.from({ length: N_INPUTS * N_UNITS }, () => rng.normal());
  const out = new Float64Array(N_STIMULI * N_UNITS);
  for (let i = 0; i < N_STIMULI; i++) {
    for (let u = 0; u < N_UNITS; u++) {
      let sum = 0;
      for (let k = 0; k < N_INPUTS; k++)
        sum += inputs[i * N_INPUTS + k]! * weights[k * N_UNITS + u]!;
      out[i * N_UNITS + u] = of(sum);
    }
  }
  return tensor(out, ["stimulus", "unit"], [N_STIMULI, N_UNITS]);
}

const asUnits = ({
  data,
  shape,
}: {
  data: Activations["data"];
  shape: readonly [number, number];
}) => tensor(data, ["stimulus", "unit"], shape);
const methods: IdentifyMethod[] = [
  ridgeMethod({ linalg, standardize: true, innerFolds: "leave-one-out" }),
  {
    name: "linear-cka",
    title: "linear CKA, debiased",
    score: (x, y) => cka(linalg, x, asUnits(y), { estimator: "debiased" }),
  },
  {
    name: "rsa-spearman",
    title: "RSA, Spearman",
    score: async (x, y) => {
      const [a, b] = [await calcRdm(x, { linalg }), await calcRdm(asUnits(y), { linalg })];
      return (await compareRdms(a, b, { method: "spearman", linalg })).data[0]!;
    },
  },
];

const percent = (v: number): string => `${Math.round(100 * v)} %`.padStart(5);
for (const [name, sparse] of [
  ["Gaussian stimuli", false],
  ["sparse stimuli", true],
] as const) {
  const inputs = stimuli(sparse);
  const found = await identify({
    // Each kind is scored in one seed, and plays the brain in three others.
    candidates: Object.entries(kinds).map(([kind, of], k) => ({
      name: kind,
      features: network(inputs, of, 100 + k),
      brains: [0, 1, 2].map((s) => network(inputs, of, 200 + 10 * k + s)),
    })),
    methods,
    targets: "unit",
    nTargets: 30,
    signalToNoise: 1,
    nSimulations: N_BRAINS,
    stimulusCounts: [50],
    seed: 5,
  });
  console.log(
    `\n${name}: ${found.nBrains} brains of 30 noisy units, guessing ${percent(found.chance)}`,
  );
  for (const [m, { title, rate, confusion }] of found.methods.entries()) {
    const fewer = found.curve[0]!.rates[m]!;
    console.log(
      `  ${title.padEnd(22)}${percent(rate.value)} [${percent(rate.low)}, ${percent(rate.high)}]; with 50 stimuli ${percent(fewer.value)}`,
    );
    for (const [i, row] of confusion.entries()) {
      const wrong = row.flatMap((n, j) =>
        i !== j && n > 0 ? [`${n} for ${found.candidates[j]}`] : [],
      );
      if (wrong.length > 0) console.log(`      ${found.candidates[i]} taken ${wrong.join(", ")}`);
    }
  }
}
await linalg.dispose();
