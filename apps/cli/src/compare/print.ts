import type { MatrixSection } from "@penfield/report";
import type { Surroundings } from "../surroundings.ts";
import { columns, shown } from "./record.ts";

/** More files than this, and the terminal shows pairs in place of a square. */
const MOST_COLUMNS = 10;

/** Where the report is, and how to look at it. */
export function printFolder(folder: string, io: Surroundings): void {
  io.out.write(
    `\nThe report is in ${folder}\nLook at it: npm run -s penfield -- view ${JSON.stringify(folder)}\n`,
  );
}

const HEAD = 12;

/** Names above columns: their ends, where their beginnings do not tell them apart. */
function heads(labels: readonly string[]): readonly string[] {
  const starts = labels.map((text) => text.slice(0, HEAD));
  if (new Set(starts).size === labels.length) return starts;
  const stems = labels.map((text) => text.replace(/\.(npy|npz|mat|safetensors)$/i, ""));
  return stems.map((text) => (text.length > HEAD ? `…${text.slice(1 - HEAD)}` : text));
}

/** A matrix with its labels; places on the map beside it. */
export function printMatrix(
  { measure, rows, columns: across, map, triangle }: MatrixSection,
  matrix: Float64Array,
  io: Surroundings,
): void {
  const n = across.labels.length;
  io.out.write(`\n${measure.title} (${measure.name}; larger is ${measure.larger})\n`);
  if (n <= MOST_COLUMNS) {
    io.out.write(
      columns([
        ["", ...heads(across.labels), ...(map ? ["map x", "map y"] : [])],
        ...rows.labels.map((text, i) => [
          text,
          ...Array.from(matrix.subarray(i * n, (i + 1) * n), shown),
          ...(map ? map.points[i]!.map(shown) : []),
        ]),
      ]),
    );
  } else {
    const finite = matrix.filter((v) => !Number.isNaN(v)).sort();
    const [least, most] = [finite[0], finite.at(-1)];
    io.out.write(
      `  ${rows.labels.length} x ${n} values from ${shown(least)} to ${shown(most)}; --json or --out DIR has them all\n`,
    );
  }
  if (map)
    io.out.write(`Map: ${map.distance}; it shows ${shown(map.explained)} of what there is\n`);
  if (triangle) {
    io.out.write(
      `Triangle inequality: ${triangle.nViolations} of ${triangle.nInequalities} fail\n`,
    );
  }
}
