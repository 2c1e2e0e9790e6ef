import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ArgumentError, activations, createRng, DataError, ShapeError } from "@penfield/core";
import { takeCensus } from "@penfield/localize";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { describeUnits } from "../describeUnits.ts";
import { plantedDocuments, plantedTopics, plantedWords } from "../testSetting.ts";
import { recordingSource } from "./recordingSource.ts";
import { secondOrderLens } from "./secondOrderLens.ts";

const normals = (n: number, seed: number): number[] => {
  const rng = createRng(seed);
  return Array.from({ length: n }, () => rng.normal());
};

describe("secondOrderLens", () => {
  const d = 24;
  const names = Array.from({ length: 200 }, (_, i) => `text ${i}`);
  const embeddings = activations(names.map((_, i) => normals(d, 100 + i)));
  /** Texts as the lens sees them: centred, of length 1. */
  const atom = (text: number) => {
    const mean = Array.from({ length: d }, (_, j) =>
      names.reduce((sum, _name, i) => sum + embeddings.data[i * d + j]! / names.length, 0),
    );
    const row = mean.map((own, j) => embeddings.data[text * d + j]! - own);
    const length = Math.hypot(...row);
    return row.map((value) => value / length);
  };
  const planted = (weights: readonly (readonly [number, number])[]) =>
    Array.from({ length: d }, (_, j) =>
      weights.reduce((sum, [text, weight]) => sum + weight * atom(text)[j]!, 0),
    );
  /** Sparse effects along a direction, with noise. */
  const effectsAlong = (direction: readonly number[], noise: number) => {
    const rng = createRng(9);
    return activations(
      Array.from({ length: 400 }, (_, i) => {
        const size = rng.uniform() < 0.2 ? 1 + rng.uniform() : 0;
        return direction.map((own, j) => size * own + noise * normals(d, 1000 + i)[j]!);
      }),
    );
  };

  test("an effect of one direction is found, and its two texts (polysemy)", () => {
    const direction = planted([
      [17, 1],
      [60, 0.7],
    ]);
    const found = secondOrderLens(
      effectsAlong(direction, 0.02),
      { names, embeddings },
      { nTexts: 2 },
    );
    const cosine =
      direction.reduce((sum, own, j) => sum + own * found.direction[j]!, 0) /
      Math.hypot(...direction);
    expect(cosine).toBeGreaterThan(0.99);
    expect(found.texts.map(({ text }) => text)).toEqual(["text 17", "text 60"]);
    expect(found.texts[0]!.weight / found.texts[1]!.weight).toBeCloseTo(1 / 0.7, 1);
    expect(found.shareAlong).toBeGreaterThan(0.95);
    expect(found.shareExplained).toBeGreaterThan(0.98);
  });

  test("by hand: in the plane", () => {
    const effects = activations([
      [6, 0],
      [2, 0],
      [2, 1],
      [2, -1],
    ]);
    // Centred [3,0], [-1,0], [-1,1], [-1,-1]; of the strongest one alone the direction is +x.
    const texts = {
      names: ["right", "up", "rest"],
      embeddings: activations([
        [3, 0],
        [0, 3],
        [-3, -3],
      ]),
    };
    const found = secondOrderLens(effects, texts, { nStrongest: 1, nTexts: 1 });
    expect(Array.from(found.direction)).toEqual([1, 0]);
    expect(found).toMatchObject({ shareAlong: 1, shareExplained: 1, strongest: [0] });
    expect(found.texts).toEqual([{ text: "right", weight: 1 }]);
  });

  test("no effect of one direction: a small share along it, and it is said", () => {
    const noise = activations(Array.from({ length: 300 }, (_, i) => normals(d, 5000 + i)));
    const found = secondOrderLens(noise, { names, embeddings });
    expect(found.shareAlong).toBeLessThan(0.2);
    expect(found.shareExplained).toBeLessThan(0.9);
  });

  test("turning all spaces the same way turns the direction and keeps the texts", () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 6, noNaN: true }), fc.nat(999), (angle, seed) => {
        const turn = ([x, y]: readonly number[]) => [
          Math.cos(angle) * x! - Math.sin(angle) * y!,
          Math.sin(angle) * x! + Math.cos(angle) * y!,
        ];
        const effects = Array.from({ length: 12 }, (_, i) => {
          const [x, y] = normals(2, seed * 20 + i);
          return [5 * x!, y!];
        });
        const own = Array.from({ length: 6 }, (_, i) => normals(2, seed + 70_000 + i));
        const list = own.map((_, i) => `${i}`);
        const lens = (change: (row: readonly number[]) => number[]) =>
          secondOrderLens(
            activations(effects.map(change)),
            { names: list, embeddings: activations(own.map(change)) },
            { nTexts: 1 },
          );
        const [plain, turned] = [lens((row) => [...row]), lens(turn)];
        expect(turned.texts[0]!.text).toBe(plain.texts[0]!.text);
        turn([...plain.direction]).forEach((value, j) => {
          expect(turned.direction[j]!).toBeCloseTo(value, 4);
        });
      }),
      { numRuns: 30 },
    );
  });

  test("errors", () => {
    const effects = activations([
      [1, 0],
      [0, 1],
    ]);
    const texts = { names: ["a", "b"], embeddings: effects };
    expect(() => secondOrderLens(effects, { names: ["a"], embeddings: effects })).toThrow(
      ShapeError,
    );
    expect(() =>
      secondOrderLens(
        activations([
          [1, 2],
          [1, 2],
        ]),
        texts,
      ),
    ).toThrow(DataError);
    expect(() =>
      secondOrderLens(
        activations([
          [1, Number.NaN],
          [1, 2],
        ]),
        texts,
      ),
    ).toThrow(DataError);
    expect(() => secondOrderLens(effects, texts, { nTexts: 0 })).toThrow(ArgumentError);
  });
});

describe("recordingSource", () => {
  const texts = plantedDocuments(300, 4).map(({ tokens }, i) => ({
    id: `s${i}`,
    text: tokens
      .map((token) => plantedWords[token]!)
      .join("")
      .trim(),
  }));

  test("voxels that respond to a topic are described by its words; noise is refused", async () => {
    const noise = [1, 2, 3].map((seed) => normals(texts.length, seed));
    const count = (text: string, topic: string) =>
      plantedTopics[topic]!.filter((word) => text.includes(word)).length;
    const responses = activations(
      texts.map(({ text }, i) => [
        2 * Number(count(text, "sea") >= 2) + 0.3 * noise[0]![i]!,
        2 * Number(count(text, "law") >= 2) + 0.3 * noise[1]![i]!,
        noise[2]![i]!,
      ]),
    );
    const { source, documents } = recordingSource(texts, responses);
    const folder = await mkdtemp(join(tmpdir(), "penfield-voxels-"));
    const census = await takeCensus(source, documents, join(folder, "census"));
    const { units } = await describeUnits(census, { nFloorUnits: 2 });
    for (const [target, topic] of ["sea", "law"].entries()) {
      const { refusal, rule, r } = units[target]!;
      expect(refusal).toBeUndefined();
      expect(r).toBeGreaterThan(0.5);
      // Alone, or joined with the words themselves.
      const parts = rule?.type === "or" ? rule.rules : [rule];
      const about = parts.find((part) => part?.type === "topic");
      const words = about?.type === "topic" ? about.words : [];
      const own = words.filter((word) => plantedTopics[topic]!.includes(word));
      expect(own.length, JSON.stringify(rule)).toBeGreaterThan(0.6 * words.length);
      expect(plantedTopics[topic]).toEqual(expect.arrayContaining(words.slice(0, 3)));
      expect(own.length).toBeGreaterThanOrEqual(3);
    }
    expect(units[2]!.sentence).toBe("no reliable description");
    await census.close();
    await rm(folder, { recursive: true, force: true });
  });

  test("equal texts are one document with their mean response", async () => {
    const twice = [
      { id: "1", text: "The cat's here." },
      { id: "2", text: "A well-read dog" },
      { id: "3", text: "The cat's here." },
    ];
    const { source, documents } = recordingSource(
      twice,
      activations([
        [4, 0],
        [1, 0],
        [0, 0],
      ]),
      {
        activeShare: 0.5,
      },
    );
    expect(documents.map(({ id, tokens }) => [id, tokens.length])).toEqual([
      ["1", 4],
      ["2", 3],
    ]);
    expect(documents[0]!.tokens.map((token) => source.tokenText!(token))).toEqual([
      ...["The", " cat's", " here", "."],
    ]);
    const [values] = await source.read(documents.map(({ tokens }) => [...tokens]));
    // Means 2 and 1, their middle 1.5.
    expect(Array.from(values!)).toEqual([
      0.5, 0, 0.5, 0, 0.5, 0, 0.5, 0, -0.5, 0, -0.5, 0, -0.5, 0,
    ]);
    expect(() => source.read([[9, 9]])).toThrow(DataError);
  });

  test("errors", () => {
    const two = texts.slice(0, 2);
    expect(() => recordingSource(two, activations([[1]]))).toThrow(ShapeError);
    expect(() => recordingSource(two, activations([[1], [Number.NaN]]))).toThrow(DataError);
    expect(() => recordingSource(two, activations([[1], [2]]), { activeShare: 1 })).toThrow(
      ArgumentError,
    );
    const empty = [two[0]!, { id: "x", text: "  " }];
    expect(() => recordingSource(empty, activations([[1], [2]]))).toThrow(
      /stimulus x has no words/,
    );
    const same = [two[0]!, two[0]!];
    expect(() => recordingSource(same, activations([[1], [2]]))).toThrow(
      /at least 2 stimuli, got 1/,
    );
  });
});
