import { DataError, type Tensor, tensor } from "@penfield/core";

const LARGEST_BYTES = 2 ** 32;

/**
 * Epochs with ids, as repeats of stimuli: the ids in the order in which they first appear; NaN where one was
 * not repeated as often as another.
 *
 * @param data - [nEpochs, nChannels, nTimes].
 * @param picks - The channels that become targets.
 * @throws {DataError} if filling up with NaN takes more than 4 GiB.
 */
export function repeatsOf(
  data: ArrayLike<number>,
  [nEpochs, nChannels, nTimes]: readonly [number, number, number],
  ids: readonly string[],
  picks: readonly number[],
  where: string,
): {
  data: Tensor<readonly ["repeat", "stimulus", "target", "time"]>;
  stimulusIds: readonly string[];
} {
  const counts = new Map<string, number>();
  for (const id of ids) counts.set(id, (counts.get(id) ?? 0) + 1);
  const stimulusIds = [...counts.keys()];
  const nRepeats = [...counts.values()].reduce((a, b) => Math.max(a, b), 0);
  const shape = [nRepeats, stimulusIds.length, picks.length, nTimes] as const;
  const size = shape.reduce((a, b) => a * b, 1);
  if (size * 8 > LARGEST_BYTES) {
    throw new DataError(
      `${where}: expected [repeat, stimulus, target, time] below ${LARGEST_BYTES} bytes, got [${shape.join(", ")}]`,
      { hint: "Keep fewer channels, or name stimuli that are repeated equally often." },
    );
  }
  const out = new Float64Array(size).fill(Number.NaN);
  const column = new Map(stimulusIds.map((id, i) => [id, i]));
  const seen = new Map<string, number>();
  for (let epoch = 0; epoch < nEpochs; epoch++) {
    const id = ids[epoch]!;
    const repeat = seen.get(id) ?? 0;
    seen.set(id, repeat + 1);
    const row = (repeat * stimulusIds.length + column.get(id)!) * picks.length;
    picks.forEach((channel, k) => {
      const from = (epoch * nChannels + channel) * nTimes;
      const to = (row + k) * nTimes;
      for (let t = 0; t < nTimes; t++) out[to + t] = data[from + t]!;
    });
  }
  return { data: tensor(out, ["repeat", "stimulus", "target", "time"], shape), stimulusIds };
}
