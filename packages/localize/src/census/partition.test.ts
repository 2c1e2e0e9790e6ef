/** Groups of units against all possible ones, and against planted experts (MoEfication, Zhang et al. 2022). */
import { createRng } from "@penfield/core";
import { createLinalg, type Linalg, matrix } from "@penfield/linalg";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { adjustedRandIndex, balancedKMeans, modularity, partitionUnits } from "./partition.ts";

let linalg: Linalg;
beforeAll(() => {
  linalg = createLinalg();
});
afterAll(() => linalg.dispose());

/** All partings of six units into two groups of three: unit 0 is in the first. */
const halves = Array.from({ length: 32 }, (_, bits) => [0, 1, 2, 3, 4].map((i) => (bits >> i) & 1))
  .filter((rest) => rest.filter((g) => g === 1).length === 3)
  .map((rest) => [0, ...rest]);

describe("against all partings of six units into two halves", () => {
  test("the parting whose centers are nearest, where two bundles of directions stand apart", async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(), async (seed) => {
        const rng = createRng(seed);
        const turn = 2 * Math.PI * rng.uniform();
        const side = Array.from({ length: 6 }, (_, i) => i % 2).sort(() => rng.uniform() - 0.5);
        // Directions within 20 degrees of one of two at right angles, of any length.
        const angles = side.map((s) => turn + (s * Math.PI) / 2 + (rng.uniform() - 0.5) * 0.7);
        const rows = Float64Array.from(
          angles.flatMap((angle) => {
            const length = 0.1 + 5 * rng.uniform();
            return [length * Math.cos(angle), length * Math.sin(angle)];
          }),
        );
        const groups = await balancedKMeans(matrix(rows, 6, 2), 2, { linalg, seed });
        /** Sum of the lengths of the groups' sums of directions: the larger, the nearer units are to their centers. */
        const likeness = (parting: ArrayLike<number>) =>
          [0, 1].reduce((sum, g) => {
            const own = angles.filter((_, i) => parting[i] === g);
            const x = own.reduce((s, angle) => s + Math.cos(angle), 0);
            const y = own.reduce((s, angle) => s + Math.sin(angle), 0);
            return sum + Math.hypot(x, y);
          }, 0);
        const best = halves.reduce((a, b) => (likeness(b) > likeness(a) ? b : a));
        expect(adjustedRandIndex(groups, best)).toBe(1);
      }),
      { numRuns: 40 },
    );
  });

  test("modularity is the share of weight inside less what chance gives, pair by pair", () => {
    const weight = fc.nat(9);
    fc.assert(
      fc.property(fc.array(weight, { minLength: 36, maxLength: 36 }), fc.nat(9), (list, which) => {
        const w = (i: number, j: number) =>
          i === j ? 0 : list[6 * Math.min(i, j) + Math.max(i, j)]!;
        const places = [0, 1, 2, 3, 4, 5];
        const strength = places.map((i) => places.reduce((sum, j) => sum + w(i, j), 0));
        const total = strength.reduce((a, b) => a + b);
        fc.pre(total > 0);
        const parting = halves[which]!;
        let q = 0;
        for (const i of places) {
          for (const j of places) {
            if (parting[i] === parting[j])
              q += w(i, j) / total - (strength[i]! * strength[j]!) / total ** 2;
          }
        }
        const square = matrix(
          Float64Array.from({ length: 36 }, (_, k) => w(Math.floor(k / 6), k % 6)),
          6,
          6,
        );
        expect(modularity(square, parting)).toBeCloseTo(q, 12);
      }),
    );
  });
});

test("groups are equally large to within one, whatever the rows, zeros and equal ones among them", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.integer({ min: -2, max: 2 }), fc.integer({ min: -2, max: 2 })), {
        minLength: 1,
        maxLength: 20,
      }),
      fc.nat(19),
      async (rows, more) => {
        const nGroups = 1 + (more % rows.length);
        const own = matrix(Float64Array.from(rows.flat()), rows.length, 2);
        const groups = await balancedKMeans(own, nGroups, { linalg });
        const sizes = Array.from(
          { length: nGroups },
          (_, g) => groups.filter((x) => x === g).length,
        );
        expect(sizes.reduce((a, b) => a + b)).toBe(rows.length);
        expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThanOrEqual(1);
      },
    ),
    { numRuns: 40 },
  );
});

test("eight planted experts come back, and a quarter of them keeps more than 95 % of the output", async () => {
  const rng = createRng(6);
  const [nExperts, perExpert, width, nInputs] = [8, 12, 24, 200];
  const nUnits = nExperts * perExpert;
  const normal = (n: number) => Array.from({ length: n }, () => rng.normal());
  // Each expert reads a block of its own.
  const keys = Array.from({ length: nExperts }, (_, e) =>
    Array.from({ length: width }, (_, k) => (Math.floor(k / 3) === e ? 2 : 0)),
  );
  const expertOf = Int32Array.from({ length: nUnits }, (_, u) => (u * 5) % nExperts);
  const into = Array.from(expertOf, (e) => keys[e]!.map((x) => x + 0.4 * rng.normal()));
  const out = Array.from(expertOf, () => normal(width));
  const rows = matrix(Float64Array.from(into.flat()), nUnits, width);
  // Every input speaks to one expert.
  const values = Array.from({ length: nInputs }, (_, i) => {
    const x = keys[i % nExperts]!.map((own) => own + 0.3 * rng.normal());
    return into.map((w) => Math.max(0, w.reduce((sum, own, k) => sum + own * x[k]!, 0) - 4));
  });
  const together = matrix(new Float64Array(nUnits ** 2), nUnits, nUnits);
  for (const own of values) {
    for (let i = 0; i < nUnits; i++) {
      for (let j = 0; j < nUnits; j++)
        if (own[i]! > 0 && own[j]! > 0) together.data[i * nUnits + j]!++;
    }
  }
  const norm = (own: readonly number[], keep: (u: number) => boolean) => {
    const y = new Float64Array(width);
    own.forEach((value, u) => {
      if (keep(u)) for (let k = 0; k < width; k++) y[k]! += value * out[u]![k]!;
    });
    return Math.hypot(...y);
  };
  for (const features of [rows, together]) {
    const {
      groups,
      modularity: q,
      randomModularity,
    } = await partitionUnits(features, together, nExperts, { linalg });
    expect(adjustedRandIndex(groups, expertOf)).toBe(1);
    expect(q).toBeCloseTo(modularity(together, expertOf), 12);
    expect(randomModularity).toBeLessThan(0.2 * q);
    // The oracle takes the two groups of eight whose activations sum to most.
    const kept = values.map((own) => {
      const sums = Array.from({ length: nExperts }, () => 0);
      own.forEach((value, u) => {
        sums[groups[u]!]! += value;
      });
      const order = [...sums.keys()].sort((a, b) => sums[b]! - sums[a]!).slice(0, 2);
      return norm(own, (u) => order.includes(groups[u]!)) / norm(own, () => true);
    });
    expect(kept.reduce((sum, share) => sum + share / nInputs, 0)).toBeGreaterThan(0.95);
  }
});
