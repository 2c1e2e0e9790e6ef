import { readFileSync } from "node:fs";
import { ArgumentError, activations, DataError, ShapeError } from "@penfield/core";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseTable } from "../table.ts";
import { activationsToTimeSeries } from "./activationsToTimeSeries.ts";
import { hemodynamicRegressor } from "./hemodynamicResponse.ts";
import { timeSeriesOf } from "./timeSeriesOf.ts";
import {
  locateWords,
  onsetImpulses,
  poolRows,
  soundEnvelope,
  timedWords,
  tokenOffsets,
  tokensOfWords,
  wordsToSamples,
} from "./words.ts";

const golden = JSON.parse(
  readFileSync(new URL("../../../../test/golden/preparation.json", import.meta.url), "utf8"),
);

describe("wordsToSamples", () => {
  const { onsets, features, times, window3, window2 } = golden.lanczos;
  test.each([
    ["window 3", window3, {}],
    ["window 2, half the cutoff", window2, { window: 2, cutoff: 0.5 }],
  ])("Lanczos against numpy: %s", (_, expected, more) => {
    const { data } = wordsToSamples(activations(features), onsets, {
      nTimes: times.length,
      samplingRate: 0.5,
      ...more,
    });
    expected.flat().forEach((value: number, i: number) => {
      expect(data[i]).toBeCloseTo(value, 12);
    });
  });

  test("a word at a sample has weight 1 there and 0 at the other samples", () => {
    const { data } = wordsToSamples(activations([[2]]), [5], { nTimes: 5, samplingRate: 0.5 });
    expect(data[2]).toBe(2);
    for (const i of [0, 1, 3, 4]) expect(data[i]).toBeCloseTo(0, 15);
  });

  test("windows by hand: mean, last, sum; 0 where no word came", () => {
    const options = { nTimes: 3, samplingRate: 1 };
    const x = activations([[1], [3], [10]]);
    const at = [0, 0.9, 2];
    expect(wordsToSamples(x, at, { ...options, how: "mean" }).data.join()).toBe("2,0,10");
    expect(wordsToSamples(x, at, { ...options, how: "last" }).data.join()).toBe("3,0,10");
    expect(wordsToSamples(x, at, { ...options, how: "sum" }).data.join()).toBe("4,0,10");
    const late = { ...options, how: "sum", firstSampleSeconds: 0.5 } as const;
    expect(wordsToSamples(x, at, late).data.join()).toBe("3,10,0");
  });

  test("every way is linear in the features", () => {
    const value = fc.double({ min: -5, max: 5, noNaN: true });
    fc.assert(
      fc.property(
        fc.array(fc.tuple(value, value, fc.double({ min: 0, max: 20, noNaN: true })), {
          minLength: 1,
          maxLength: 20,
        }),
        fc.constantFrom("lanczos" as const, "mean" as const, "sum" as const, "last" as const),
        (words, how) => {
          const options = { nTimes: 10, samplingRate: 0.5, how };
          const at = words.map(([, , time]) => time);
          const run = (pick: (word: (typeof words)[number]) => number) =>
            wordsToSamples(activations(words.map((word) => [pick(word)])), at, options).data;
          const [a, b, both] = [run((w) => w[0]), run((w) => w[1]), run((w) => 2 * w[0] - w[1])];
          both.forEach((v, i) => {
            expect(v).toBeCloseTo(2 * a[i]! - b[i]!, 10);
          });
        },
      ),
      { numRuns: 40 },
    );
  });

  test("refuses times that do not fit", () => {
    const options = { nTimes: 3, samplingRate: 1 };
    expect(() => wordsToSamples(activations([[1]]), [], options)).toThrow(ShapeError);
    expect(() => wordsToSamples(activations([[1]]), [Number.NaN], options)).toThrow(ArgumentError);
    expect(() => wordsToSamples(activations([[1]]), [0], { ...options, nTimes: 0 })).toThrow(
      ArgumentError,
    );
    expect(() =>
      // @ts-expect-error: not a way to pool
      wordsToSamples(activations([[1]]), [0], { ...options, how: "median" }),
    ).toThrow(ArgumentError);
  });
});

describe("words of texts", () => {
  test("tables: words stay words, offsets from durations, the line of what is wrong", () => {
    const words = timedWords(parseTable("word\tonset\toffset\nnan\t0\t1\nNA\t1\t2\n"));
    expect(words).toEqual([
      { text: "nan", onset: 0, offset: 1 },
      { text: "NA", onset: 1, offset: 2 },
    ]);
    expect(timedWords(parseTable("word,onset\na,1\n"))[0]!.offset).toBeUndefined();
    expect(() => timedWords(parseTable("word,onset\na,1\nb,\n"))).toThrow(
      'line 3: expected seconds under onset, got ""',
    );
    expect(() => timedWords(parseTable("word,onset\na,2\nb,1\n"))).toThrow("got 1 after 2");
    expect(() => timedWords(parseTable("text,onset\na,2\n"))).toThrow('expected a column "word"');
  });

  test("words are found in order; tokens by the characters they share", () => {
    const text = "The cat's hat, the HAT";
    const spans = locateWords(text, ["the", "cat's", "hat", "The", "hat"]);
    expect(spans.map(({ start, end }) => text.slice(start, end))).toEqual([
      "The",
      "cat's",
      "hat",
      "the",
      "HAT",
    ]);
    const tokens = [0, 0, 3, 7, 9, 13, 14, 18, 22].map((end, i, all) => ({
      start: i === 0 ? 0 : all[i - 1]!,
      end,
    }));
    expect(tokensOfWords(spans, tokens)).toEqual([[2], [3, 4], [5], [7], [8]]);
    expect(() => tokensOfWords(spans, tokens.slice(0, 6))).toThrow("word 3 (characters 15 to 18)");
    expect(() => locateWords(text, ["dog"])).toThrow(DataError);
    expect(() => locateWords(text, [""])).toThrow(DataError);
    expect(poolRows(activations([[1], [2], [4]]), [[0, 1, 2], [1]]).data.join()).toBe("4,2");
    expect(poolRows(activations([[1], [2], [4]]), [[0, 2]], "sum").data.join()).toBe("5");
    expect(() => poolRows(activations([[1]]), [[]])).toThrow(ShapeError);
  });
});

describe("tokenOffsets", () => {
  const shown = (text: string, tokens: string[]) =>
    tokenOffsets(text, tokens).map(({ start, end }) => text.slice(start, end));

  test("spaces, word pieces, capital letters, special tokens", () => {
    expect(
      shown("The  unhappy\ncat.", ["<s>", "The", " ", " un", "happy", "\n", "cat", ".", "</s>"]),
    ).toEqual(["", "The", "", "un", "happy", "", "cat", ".", ""]);
    expect(shown("Embeddings work", ["[CLS]", "em", "##bed", "##dings", "work", "[SEP]"])).toEqual([
      "",
      "Em",
      "bed",
      "dings",
      "work",
      "",
    ]);
    // Written by somebody, not special.
    expect(shown("a <b> c", ["a", " <b>", " c"])).toEqual(["a", "<b>", "c"]);
  });

  test("parts of one character share it, also at the end", () => {
    const part = "\uFFFD";
    expect(shown("a 😀 b", ["a", ` ${part}`, part, part, " b"])).toEqual([
      "a",
      "😀",
      "😀",
      "😀",
      "b",
    ]);
    expect(shown("a é", ["a", part, part, "</s>"])).toEqual(["a", "é", "é", ""]);
  });

  test("a token that is not there is named, with what is", () => {
    expect(() => tokenOffsets("naïve cat", ["naive", " cat"])).toThrow(
      'token 0 ("naive") in the text, got "naïve cat"',
    );
  });
});

describe("series of features", () => {
  test("impulses of a height, and those outside", () => {
    const { data } = onsetImpulses([-1, 0.5, 0.5, 9], {
      nTimes: 3,
      samplingRate: 2,
      values: [1, 2, 3, 4],
    });
    expect(data.join()).toBe("0,5,0");
    expect(() => onsetImpulses([1], { nTimes: 1, samplingRate: 1, values: [] })).toThrow(
      ShapeError,
    );
  });

  test("the envelope of a sound that swells follows it", () => {
    const n = 8000;
    const swell = (i: number) => 1 + Math.sin((2 * Math.PI * 2 * i) / n);
    const sound = Float64Array.from({ length: n }, (_, i) => swell(i) * Math.sin(i));
    const { data } = soundEnvelope(sound, { samplingRate: n, outputRate: 50 });
    for (let i = 5; i < 45; i++) {
      expect(data[i]).toBeCloseTo((swell((i * n) / 50) * 2) / Math.PI, 1);
    }
  });
});

describe("activationsToTimeSeries", () => {
  test("one word through the blood is the regressor of an event, within its run", () => {
    const series = timeSeriesOf({
      values: Array.from({ length: 60 }, () => [0]),
      samplingRate: 0.5,
      runOnsets: [0, 30],
    });
    const { data } = activationsToTimeSeries(activations([[2], [5]]), [20, 100], series, {
      hemodynamic: "glover",
      centre: false,
    });
    const expected = [
      [20, 2],
      [40, 5],
    ].flatMap(([onset, amplitude]) => [
      ...hemodynamicRegressor([{ onset: onset!, duration: 0.2, amplitude }], {
        nTimes: 30,
        samplingRate: 0.5,
        shape: "glover",
        oversampling: 10,
      }),
    ]);
    expected.forEach((value, i) => {
      expect(data[i]).toBeCloseTo(value, 12);
    });
  });

  test("runs are centred one by one; delays and a response exclude each other", () => {
    const series = timeSeriesOf({ values: [[0], [0], [0], [0]], runOnsets: [0, 2] });
    const x = activations([[1], [3], [10], [20]]);
    const at = [0, 1, 2, 3];
    const options = { how: "mean", delays: [0] } as const;
    expect(activationsToTimeSeries(x, at, series, options).data.join()).toBe("-1,1,-5,5");
    expect(() =>
      activationsToTimeSeries(x, at, series, { ...options, hemodynamic: "spm" }),
    ).toThrow("got both");
    expect(() => activationsToTimeSeries(x, [0], series)).toThrow(ShapeError);
  });
});
