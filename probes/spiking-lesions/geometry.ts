import type { Activations } from "@penfield/core";
import type { UnitSet } from "@penfield/localize";
import { meanOverRepeats, type Recording } from "@penfield/recordings";
import type { NoteSection } from "@penfield/report";
import { mean, spearman } from "@penfield/stats";

/** Euclidean distances between all pairs of rows, in some of the columns: the upper triangle, row by row. */
export function euclideanRdm(
  { data, shape: [nRows, nColumns] }: Pick<Activations, "data" | "shape">,
  columns: ArrayLike<number> = Array.from({ length: nColumns }, (_, j) => j),
): Float64Array {
  const rdm = new Float64Array((nRows * (nRows - 1)) / 2);
  let at = 0;
  for (let a = 0; a < nRows; a++) {
    for (let b = a + 1; b < nRows; b++) {
      let sum = 0;
      for (let k = 0; k < columns.length; k++) {
        const j = columns[k]!;
        sum += (data[a * nColumns + j]! - data[b * nColumns + j]!) ** 2;
      }
      rdm[at++] = Math.sqrt(sum);
    }
  }
  return rdm;
}

/** Whether trials that are far apart in the network are so in the recording, beside random units and the pulse counts. */
export function geometrySection(
  own: Activations,
  counts: Activations,
  recording: Recording,
  selected: UnitSet,
  random: readonly ArrayLike<number>[],
): NoteSection {
  const target = euclideanRdm(meanOverRepeats(recording));
  const with_ = (x: Activations, columns?: ArrayLike<number>): number =>
    spearman(euclideanRdm(x, columns), target);
  const localized = with_(own, selected.indices);
  const draws = random.map((units) => with_(own, units));
  const asHigh = draws.filter((r) => r >= localized).length;
  const { length: n } = draws;
  return {
    kind: "note",
    id: "geometry",
    title: "The same by dissimilarities",
    reading:
      "Spearman correlation between two RDMs of the trials: Euclidean distances of rates in the late delay, and of the simulated recording, mean of its repeats. No expectation was stated for this.",
    paragraphs: [
      `Selected units ${localized.toFixed(3)}; random units ${mean(draws).toFixed(3)} (${Math.min(...draws).toFixed(3)} to ${Math.max(...draws).toFixed(3)}), ${asHigh} of ${n} as high (p = ${((asHigh + 1) / (n + 1)).toFixed(3)}); all units ${with_(own).toFixed(3)}; pulse counts alone ${with_(counts).toFixed(3)}.`,
    ],
  };
}
