/**
 * A process of its own for what is measured on a whole process: memory, and the opening of models.
 * Started by hooks.ts with a job as its argument; says by messages where it is.
 */
import { createRng } from "@penfield/core";
import { HookedModel } from "@penfield/hooks";
import { captureActivations } from "@penfield/store";
import { CAPTURED, type Time, type WorkerJob } from "./hooksFigures.ts";

const job = JSON.parse(process.argv[2]!) as WorkerJob;
const say = (message: object): Promise<void> =>
  new Promise((resolve) => process.send!(message, () => resolve()));
const time = async (work: () => Promise<unknown>): Promise<Time> => {
  const [start, before] = [performance.now(), process.cpuUsage()];
  await work();
  const { user, system } = process.cpuUsage(before);
  return { seconds: (performance.now() - start) / 1000, cpu: (user + system) / 1e6 };
};
const rng = createRng(1);
const random = (n: number, below: number): number[] =>
  Array.from({ length: n }, () => 1 + rng.below(below - 1));

await say({ phase: "open" });
let model!: HookedModel;
const open = await time(async () => {
  model = await HookedModel.fromPretrained(job.folder, job.options);
});
const { dVocab = 100, nLayers, nCtx = 256 } = model.cfg;

if (job.do === "memory") {
  const tokens = Array.from({ length: job.rows }, () => random(job.length, dVocab));
  const run = () => model.runWithCache(tokens, { namesFilter: CAPTURED });
  await say({ phase: "first run" });
  const { logits, cache } = await run();
  const values = [logits, ...cache.values()].reduce((sum, { data }) => sum + data.length, 0);
  await say({ phase: "runs", batchBytes: 4 * values });
  for (let i = 0; i < job.runs; i++) await run();
  await say({ phase: "done" });
} else if (job.do === "open") {
  // A prompt of one length; each variant asks for other hooks, so each is compiled anew.
  const tokens = [random(job.length, dVocab)];
  const zero = { type: "zero" } as const;
  const variants = [
    () => model.runWithCache(tokens, { namesFilter: CAPTURED }),
    () => model.runWithCache(tokens, { namesFilter: "blocks.*.attn.hook_z" }),
    ...[0, Math.floor(nLayers / 2), nLayers - 1].map((layer) => () => {
      const hook = `blocks.${layer}.mlp.hook_post`;
      return model.runWithInterventions(tokens, [{ hook, op: zero, units: [3] }]);
    }),
  ];
  const extra: Time[] = [];
  for (const variant of variants) {
    const [first, second, third] = [await time(variant), await time(variant), await time(variant)];
    const over = (of: keyof Time) => first[of] - Math.min(second[of], third[of]);
    extra.push({ seconds: over("seconds"), cpu: over("cpu") });
  }
  await say({ phase: "done", open, extra });
} else {
  const corpus: number[][] = [];
  for (let left = job.tokens; left > 0; ) {
    const length = Math.min(left, 16 + rng.below(Math.min(nCtx, 256) - 15));
    corpus.push(random(length, dVocab));
    left -= length;
  }
  await say({ phase: "capture" });
  let summary = {};
  const took = await time(async () => {
    summary = await captureActivations(model, corpus, job.out, {
      hooks: job.hooks,
      onProgress: ({ done }) => process.send!({ done }),
    });
  });
  await say({ phase: "done", took, summary });
}
await model.dispose();
process.disconnect();
