// Which units of a spiking network hold a memory, and what goes without them?   npm run -s example -- spiking
import { join } from "node:path";
import { ablationMap } from "@penfield/ablate";
import { createRng } from "@penfield/core";
import { contrast, selectUnits } from "@penfield/localize";
import { spikingOrganismFolder } from "@penfield/organisms";
import { cv, spikeTrain } from "@penfield/spikes";
import { meanOverTime, SpikingModel, spikeRaster } from "@penfield/spiking";

// 120 steps of 5 ms: pulses on the left or on the right, a delay, then a cue that asks which side had more.
const dt = 0.005;
const model = await SpikingModel.fromNir(join(spikingOrganismFolder("spiking-a"), "network.nir"), {
  dt,
});
const [nTrials, nSteps, nChannels] = [
  60,
  120,
  model.network.nodes[model.network.inputs[0]!]!.nUnits,
];
const side = (trial: number): number => trial % 2;
const rng = createRng(1);
const data = new Float32Array(nTrials * nSteps * nChannels);
for (let trial = 0; trial < nTrials; trial++) {
  for (let t = 0; t < 40; t++) {
    for (const channel of [0, 1]) {
      const chance = channel === side(trial) ? 0.3 : 0.1;
      if (rng.uniform() < chance) data[(trial * nSteps + t) * nChannels + channel] = 1;
    }
  }
  // The cue to remember.
  for (let t = 90; t < nSteps; t++) data[(trial * nSteps + t) * nChannels + 4] = 1;
}
const input = { data, shape: [nTrials, nSteps, nChannels] };

// Rates at the end of the delay, one kind of trial against the other.
const hook = model.listHooks("*.spikes")[0]!.name;
const rates = await meanOverTime(model, input, { hook: { hook, from: 60, to: 90 } });
const trialsOf = (wanted: number) => {
  const rows = Array.from({ length: nTrials }, (_, i) => i).filter((i) => side(i) === wanted);
  const nUnits = rates.shape[1];
  const part = new Float64Array(rows.length * nUnits);
  rows.forEach((row, k) => {
    part.set(rates.data.subarray(row * nUnits, (row + 1) * nUnits), k * nUnits);
  });
  return { ...rates, data: part, shape: [rows.length, nUnits] as const };
};
const { t } = contrast(trialsOf(1), trialsOf(0), { magnitude: false });
const strength = { ...t, data: t.data.map(Math.abs) };
const units = selectUnits(strength, { k: 5 });
console.log(`most selective of ${rates.shape[1]} units: ${units.indices.join(", ")}`);

// Each of them silenced by itself: how far do the two outputs then lie apart?
const { baseline, effects } = await ablationMap(model, input, {
  hook,
  units: units.indices,
  metric: ({ data: out, shape }, rows) =>
    rows.map(({ row, prompt }) => {
      let sum = 0;
      for (let step = 90; step < nSteps; step++) {
        const at = (row * shape[1]! + step) * 2;
        sum += out[at + side(prompt)]! - out[at + 1 - side(prompt)]!;
      }
      return sum;
    }),
});
console.log(`${baseline.filter((d) => d > 0).length} of ${nTrials} trials right`);
units.indices.forEach((unit, u) => {
  const own = effects.subarray(u * nTrials, (u + 1) * nTrials);
  const right = own.filter((effect, i) => baseline[i]! + effect > 0).length;
  console.log(`  without unit ${unit}: ${right}`);
});

// Spikes of one trial, as points in time.
const { cache } = await model.run({ input, capture: [{ hook, as: "events" }] });
const raster = spikeRaster(cache.get(hook)!, { dt, rows: [0] });
const timesOf = (unit: number) =>
  Array.from({ length: raster.nSpikes }, (_, k) => k)
    .filter((k) => raster.data[3 * k + 2] === unit)
    .map((k) => raster.data[3 * k + 1]!);
const [unit, times] = Array.from(
  { length: raster.nUnits },
  (_, j) => [j, timesOf(j)] as const,
).reduce((a, b) => (b[1].length > a[1].length ? b : a));
const train = spikeTrain(times, { tStop: raster.durationSeconds });
console.log(
  `${raster.nSpikes} spikes in a trial; unit ${unit} has ${times.length}, CV ${cv(train).toFixed(2)}`,
);
await model.dispose();
