import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { inflateSync } from "node:zlib";
import { createLinalg } from "@penfield/linalg";
import { afterAll, describe, expect, test } from "vitest";
import { compareRdms, type RdmComparison } from "./compareRdms.ts";
import { evaluateModels } from "./evaluate.ts";
import { fixedModels } from "./models.ts";
import { rdmPermutationTest } from "./permutationTest.ts";
import { condensedRdm, type Rdms, rdms } from "./rdms.ts";

const folder = fileURLToPath(new URL("../../../../../shared/data/rdm92/", import.meta.url));

/** As much of a MATLAB 5 file as these hold: arrays of structs with a number array and a name. */
interface Struct {
  readonly rdm: Float64Array;
  readonly name: string;
}

const NUMBERS: Record<number, (view: DataView, at: number) => number> = {
  1: (v, at) => v.getInt8(at),
  2: (v, at) => v.getUint8(at),
  3: (v, at) => v.getInt16(at, true),
  4: (v, at) => v.getUint16(at, true),
  5: (v, at) => v.getInt32(at, true),
  6: (v, at) => v.getUint32(at, true),
  7: (v, at) => v.getFloat32(at, true),
  9: (v, at) => v.getFloat64(at, true),
};
const SIZES: Record<number, number> = { 1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 4, 9: 8 };

/** The elements of a MATLAB 5 stream: type and bytes. */
function* elements(bytes: Uint8Array): Generator<[number, Uint8Array]> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 0; at + 8 <= bytes.length; ) {
    const word = view.getUint32(at, true);
    if (word >>> 16) {
      yield [word & 0xffff, bytes.subarray(at + 4, at + 4 + (word >>> 16))];
      at += 8;
      continue;
    }
    const length = view.getUint32(at + 4, true);
    yield [word, bytes.subarray(at + 8, at + 8 + length)];
    at += 8 + (word === 15 ? length : Math.ceil(length / 8) * 8);
  }
}

function numbersOf(type: number, bytes: Uint8Array): Float64Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const size = SIZES[type]!;
  return Float64Array.from({ length: bytes.length / size }, (_, i) =>
    NUMBERS[type]!(view, i * size),
  );
}

/** The structs of the variable of a name. */
function readStructs(file: string, variable: string): Struct[] {
  const bytes = new Uint8Array(readFileSync(folder + file));
  for (const [type, packed] of elements(bytes.subarray(128))) {
    const body = type === 15 ? [...elements(new Uint8Array(inflateSync(packed)))][0]![1] : packed;
    const [, dimensions, name, fieldLength, fieldNames, ...cells] = [...elements(body)];
    if (Buffer.from(name![1]).toString() !== variable) continue;
    const count = numbersOf(5, dimensions![1]).reduce((a, b) => a * b, 1);
    const width = numbersOf(5, fieldLength![1])[0]!;
    const fields = Array.from({ length: fieldNames![1].length / width }, (_, i) =>
      Buffer.from(fieldNames![1].subarray(i * width, (i + 1) * width))
        .toString()
        .replace(/\0.*$/, ""),
    );
    return Array.from({ length: count }, (_, s) => {
      const cell = (field: string) =>
        [...elements(cells[s * fields.length + fields.indexOf(field)]![1])][3]!;
      const text = Buffer.from(cell("name")[1]);
      return {
        rdm: numbersOf(...cell("RDM")),
        name: text.toString(cell("name")[0] === 4 ? "utf16le" : "latin1"),
      };
    });
  }
  throw new Error(`${file}: no variable ${variable}`);
}

const toCondensed = ({ rdm }: Struct): Float64Array =>
  rdm.length === 4186 ? rdm : condensedRdm({ data: rdm, nRows: 92, nColumns: 92 });

describe.skipIf(!existsSync(folder))("the 92 images (need ../shared/data/rdm92)", () => {
  const linalg = createLinalg({ threads: 1 });
  afterAll(() => linalg.dispose());

  /** Human inferior temporal cortex: four subjects, each the mean of two sessions. */
  const humans = (): Rdms => {
    const all = readStructs("92_brainRDMs.mat", "RDMs");
    const bySubject = [0, 1, 2, 3].map((s) => {
      const [a, b] = [toCondensed(all[s]!), toCondensed(all[s + 4]!)];
      return a.map((v, p) => (v + b[p]!) / 2);
    });
    return rdms(bySubject);
  };
  const models = (): Rdms => {
    const all = readStructs("92_modelRDMs.mat", "Models");
    return rdms(all.map(toCondensed), { names: all.map(({ name }) => name) });
  };
  const scores = async (method: RdmComparison) => {
    const e = await evaluateModels(fixedModels(models()), humans(), { method, linalg });
    const order = [...e.names.keys()].sort((a, b) => e.means[b]! - e.means[a]!);
    const of = Object.fromEntries(e.names.map((name, m) => [name, e.means[m]!]));
    return { e, of, order: order.map((m) => e.names[m]!) };
  };

  test("monkey and human inferior temporal cortex: r = .4912, rho = .4389", async () => {
    const all = readStructs("Kriegeskorte_Neuron2008_supplementalData.mat", "RDMs_mIT_hIT_fig1");
    expect(all[0]!.name).toBe("mIT_674neurons");
    const [monkey, human] = all.map((s) => rdms([toCondensed(s)]));
    const r = async (method: RdmComparison) =>
      (await compareRdms(monkey!, human!, { method, linalg })).data[0]!;
    expect(await r("pearson")).toBeCloseTo(0.4912, 4);
    expect(await r("spearman")).toBeCloseTo(0.4389, 4);
    const related = await rdmPermutationTest(monkey!, human!, { nDraws: 199, linalg });
    expect(related.p[0]).toBeCloseTo(1 / 200, 12);
  });

  test.each([
    ["tau-a", 0.254, 0.477],
    ["pearson", 0.394, 0.68],
    ["spearman", 0.372, 0.666],
    ["whitened-pearson", 0.43, 0.696],
    ["whitened-cosine", 0.665, 0.817],
  ] as const)("noise ceiling of human IT, %s: %f to %f", async (method, lower, upper) => {
    const { e } = await scores(method);
    expect(e.ceiling.lower[0]).toBeCloseTo(lower, 3);
    expect(e.ceiling.upper[0]).toBeCloseTo(upper, 3);
  });

  test("animacy explains human IT best, then monkey IT; V1 least", async () => {
    const { of, order } = await scores("tau-a");
    expect(order).toEqual([
      "animacy",
      "monkeyIT",
      "EVA",
      "FaceBodyManmadeNatobj",
      "HMAX",
      "Silhouette",
      "RADON",
      "V1",
    ]);
    const expected = [0.223, 0.201, 0.166, 0.137, 0.107, 0.065, 0.026, 0.018];
    order.forEach((name, i) => {
      expect(of[name]).toBeCloseTo(expected[i]!, 3);
    });
    const b = (await scores("tau-b")).of;
    expect(b["animacy"]).toBeCloseTo(0.3154, 4);
    expect(b["monkeyIT"]).toBeCloseTo(0.2009, 4);
  });

  test("whitening changes the order: monkey IT before EVA, V1 and animacy", async () => {
    const { of } = await scores("whitened-cosine");
    for (const [name, value] of [
      ["monkeyIT", 0.65],
      ["EVA", 0.635],
      ["V1", 0.494],
      ["animacy", 0.405],
    ] as const) {
      expect(of[name]).toBeCloseTo(value, 3);
    }
    const rho = (await scores("rho-a")).of["animacy"];
    expect(rho).toBeCloseTo(0.334, 3);
  });
});
