import { createRng, tensor } from "@penfield/core";
import { createLinalg, matrix } from "@penfield/linalg";
import { afterAll, describe, expect, test } from "vitest";
import { calcRdm } from "./calcRdm.ts";
import { crossnobisRdm } from "./crossValidated.ts";
import { rdmMovie } from "./movie.ts";
import { rdmRow } from "./rdms.ts";
import { searchlightRdms, surfaceSearchlights, volumeSearchlights } from "./searchlight.ts";

const linalg = createLinalg({ threads: 1 });
afterAll(() => linalg.dispose());

const random = (shape: readonly number[], seed: number) => {
  const rng = createRng(seed);
  return Float64Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => rng.normal());
};

describe("volumeSearchlights", () => {
  test("balls are what the distance says", () => {
    const shape = [4, 5, 3] as const;
    const mask = Uint8Array.from({ length: 60 }, (_, i) => Number(i % 7 !== 0));
    const place = (i: number) => [Math.floor(i / 15), Math.floor(i / 3) % 5, i % 3] as const;
    for (const truncate of [false, true]) {
      const { centers, neighbors } = volumeSearchlights(mask, shape, {
        radius: 1.8,
        threshold: 0.6,
        truncate,
      });
      const expected = Array.from(mask.keys()).flatMap((c) => {
        if (!mask[c]) return [];
        const [x, y, z] = place(c);
        const all = Array.from(mask.keys()).filter((i) => {
          const [a, b, d] = place(i);
          return Math.hypot(a - x, b - y, d - z) < 1.8 && (!truncate || mask[i]);
        });
        const share = all.filter((i) => mask[i]).length / all.length;
        return share >= 0.6 ? [[c, all] as const] : [];
      });
      expect(Array.from(centers)).toEqual(expected.map(([c]) => c));
      expect(neighbors.map((n) => Array.from(n))).toEqual(expected.map(([, n]) => n));
    }
  });

  test("refuses other sizes", () => {
    expect(() => volumeSearchlights([1], [2, 1, 1])).toThrow("2 x 1 x 1 voxels, got 1");
    expect(() => volumeSearchlights([1], [1, 1, 1], { radius: 0 })).toThrow("radius above 0");
    expect(() => volumeSearchlights([1], [1, 1, 1], { threshold: 2 })).toThrow("within 0..1");
  });
});

describe("surfaceSearchlights", () => {
  // A strip of six vertices: triangles 0 1 2, 1 2 3, 2 3 4, 3 4 5.
  const strip = [
    [0, 1, 2],
    [1, 2, 3],
    [2, 3, 4],
    [3, 4, 5],
  ];

  test("rings and distances along edges", () => {
    const one = surfaceSearchlights(strip, 6, { rings: 1 });
    expect(Array.from(one.neighbors[0]!)).toEqual([0, 1, 2]);
    expect(Array.from(one.neighbors[2]!)).toEqual([0, 1, 2, 3, 4]);
    const two = surfaceSearchlights(strip, 6, { rings: 2 });
    expect(Array.from(two.neighbors[0]!)).toEqual([0, 1, 2, 3, 4]);
    // Upper row y = 1, lower row y = 0, half a step apart.
    const coordinates = [0, 0, 0, 0.5, 1, 0, 1, 0, 0, 1.5, 1, 0, 2, 0, 0, 2.5, 1, 0];
    const near = surfaceSearchlights(strip, 6, { distance: 2.05, coordinates });
    expect(Array.from(near.neighbors[0]!)).toEqual([0, 1, 2, 4]);
    expect(
      Array.from(surfaceSearchlights(strip, 6, { distance: 2, coordinates }).neighbors[0]!),
    ).toEqual([0, 1, 2]);
  });

  test("a mask is a border", () => {
    const mask = [1, 1, 0, 0, 1, 1];
    const { centers, neighbors } = surfaceSearchlights(strip, 6, { rings: 5, mask });
    expect(Array.from(centers)).toEqual([0, 1, 4, 5]);
    expect(Array.from(neighbors[0]!)).toEqual([0, 1]);
    expect(Array.from(neighbors[3]!)).toEqual([4, 5]);
  });

  test("refuses what is no mesh", () => {
    expect(() => surfaceSearchlights([[0, 9]], 3, { rings: 1 })).toThrow("within 0..2, got 9");
    expect(() => surfaceSearchlights([[0, 1]], 3, {})).toThrow("either rings or a distance");
    expect(() => surfaceSearchlights([[0, 1]], 3, { distance: 1 })).toThrow(
      "coordinates of 3 vertices",
    );
    expect(() => surfaceSearchlights([[0, 1]], 3, { rings: 1, mask: [1] })).toThrow(
      "mask of 3 vertices",
    );
  });
});

describe("searchlightRdms", () => {
  const x = tensor(random([8, 12], 1), ["stimulus", "unit"], [8, 12]);
  const lights = volumeSearchlights(new Uint8Array(12).fill(1), [3, 4, 1], {
    radius: 1.5,
    threshold: 0,
  });
  const columns = (places: Int32Array) =>
    tensor(
      Float64Array.from(
        { length: 8 * places.length },
        (_, i) => x.data[Math.floor(i / places.length) * 12 + places[i % places.length]!]!,
      ),
      ["stimulus", "unit"],
      [8, places.length],
    );

  test("are those of the neighbourhoods' columns", async () => {
    const made = await searchlightRdms(x, lights, { rdm: { linalg } });
    expect(made.names).toEqual(Array.from(lights.centers));
    for (const c of [0, 5, 11]) {
      const alone = await calcRdm(columns(lights.neighbors[c]!), { linalg });
      expect(Array.from(rdmRow(made, c))).toEqual(Array.from(alone.data));
    }
  });

  test("crossnobis with a precision cut down to each neighbourhood", async () => {
    const precision = matrix(
      Float64Array.from({ length: 144 }, (_, i) => (i % 13 === 0 ? 2 + i / 50 : 0.05)),
      12,
      12,
    );
    const cv = { conditions: [0, 1, 2, 3, 0, 1, 2, 3], runs: [0, 0, 0, 0, 1, 1, 1, 1], linalg };
    let last = 0;
    const made = await searchlightRdms(x, lights, {
      crossnobis: { ...cv, precision },
      onProgress: ({ done }) => {
        last = done;
      },
    });
    expect(last).toBe(12);
    const places = lights.neighbors[6]!;
    const cut = Float64Array.from(
      { length: places.length ** 2 },
      (_, i) =>
        precision.data[places[Math.floor(i / places.length)]! * 12 + places[i % places.length]!]!,
    );
    const alone = await crossnobisRdm(columns(places), {
      ...cv,
      precision: matrix(cut, places.length, places.length),
    });
    expect(Array.from(rdmRow(made, 6))).toEqual(Array.from(alone.data));
  });

  test("refuse places beyond the data, and nothing at all", async () => {
    const far = { centers: Int32Array.of(0), neighbors: [Int32Array.of(0, 12)] };
    await expect(searchlightRdms(x, far, { rdm: { linalg } })).rejects.toThrow(
      "within 0..11, got 12",
    );
    const none = { centers: new Int32Array(), neighbors: [] };
    expect(() => searchlightRdms(x, none)).toThrow("at least one searchlight");
    const signal = AbortSignal.abort();
    await expect(searchlightRdms(x, lights, { signal })).rejects.toThrow("interrupted");
  });
});

describe("rdmMovie", () => {
  const shape = [6, 5, 4] as const;
  const x = tensor(random(shape, 2), ["stimulus", "unit", "time"], shape);
  const frame = (times: readonly number[]) =>
    tensor(
      Float64Array.from(
        { length: 30 },
        (_, i) => times.reduce((s, t) => s + x.data[i * 4 + t]!, 0) / times.length,
      ),
      ["stimulus", "unit"],
      [6, 5],
    );

  test("frames are RDMs of their times, or of the mean over a bin", async () => {
    const movie = await rdmMovie(x, { rdm: { linalg }, times: [0, 0.1, 0.2, 0.3] });
    expect(movie.names).toEqual([0, 0.1, 0.2, 0.3]);
    expect(Array.from(rdmRow(movie, 2))).toEqual(
      Array.from((await calcRdm(frame([2]), { linalg })).data),
    );
    const binned = await rdmMovie(x, {
      rdm: { linalg },
      times: [0, 0.1, 0.2, 0.3],
      bins: [[0.1, 0.1 + 0.2]],
    });
    const mean = (await calcRdm(frame([1, 3]), { linalg })).data;
    mean.forEach((v, i) => {
      expect(binned.data[i]).toBeCloseTo(v, 14);
    });
    expect(binned.names[0]).toBeCloseTo(0.2, 12);
  });

  test("refuses other times", () => {
    expect(() => rdmMovie(x, { times: [1] })).toThrow("expected 4 times, got 1");
    expect(() => rdmMovie(x, { bins: [[9]] })).toThrow("a time of the data in a bin, got 9");
    expect(() => rdmMovie(x, { bins: [[]] })).toThrow("times in a bin, got none");
    expect(() => rdmMovie(x, { bins: [] })).toThrow("at least one bin");
  });
});
