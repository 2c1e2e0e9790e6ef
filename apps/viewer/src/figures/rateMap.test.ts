import type { RateMapSection } from "@penfield/report";
import { describe, expect, test } from "vitest";
import { drawSvg } from "./exhibit.ts";
import { rateMapFigures } from "./rateMap.ts";
import { bandsCaption, unitBands } from "./unitBands.ts";

const section: RateMapSection = {
  kind: "rate-map",
  id: "rates",
  title: "Rates",
  reading: "",
  measure: "spikes/s",
  nUnits: 3,
  units: "u.npy",
  groups: [
    { title: "selected", nUnits: 1 },
    { title: "others", nUnits: 2 },
  ],
  columns: { kind: "time", title: "time (s)", from: 0, to: 1, nBins: 2 },
  maps: [{ title: "left" }, { title: "right" }],
  array: "a.npy",
};
const fields = { units: [7, 0, 1], array: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, Number.NaN] };

describe("a rate map", () => {
  test("is a picture for each map, with all numbers beside it", () => {
    const figures = rateMapFigures(section, { fields });
    expect(figures.map(({ id, title }) => [id, title])).toEqual([
      ["rates-0", "left"],
      ["rates-1", "right"],
    ]);
    expect(figures[0]!.numbers.columns).toEqual(["unit", "group", "0 to 0.5", "0.5 to 1"]);
    expect(figures[1]!.numbers.rows).toEqual([
      [7, "selected", 6, 7],
      [0, "others", 8, 9],
      [1, "others", 10, null],
    ]);
    expect(figures[0]!.description).toBe(
      "3 units by 2 bins of time; spikes/s from 0.000 to 5.000, highest in unit 1, 0.5 to 1.",
    );
    expect(figures[0]!.caption).toContain("The colours mean the same in all maps");
    const svg = drawSvg(figures[0]!).markup;
    expect(svg).toContain("selected (1)");
    expect(svg).toContain("time (s)");
  });

  test("has the same colours in all maps, and none where there is no number", () => {
    const flat = { ...section, groups: [{ title: "", nUnits: 3 }] };
    const cells = (values: number[]) =>
      rateMapFigures(flat, { fields: { ...fields, array: values } }).map(
        ({ drawing }) => drawing!.content.markup.match(/<path fill="[^"]+" d="[^"]*"/g) ?? [],
      );
    const [low, high] = cells([...Array(6).fill(1), ...Array(6).fill(9)]);
    expect([low!.length, high!.length]).toEqual([1, 1]);
    expect(low![0]!.slice(0, 20)).not.toBe(high![0]!.slice(0, 20));
    const [empty] = cells(Array(12).fill(Number.NaN));
    expect(empty).toEqual([]);
  });

  test("names conditions below the columns", () => {
    const labels = Array.from({ length: 20 }, (_, i) => `a condition <${i}>`);
    const one: RateMapSection = {
      ...section,
      maps: [{ title: "" }],
      columns: { kind: "conditions", title: "odour", labels },
    };
    const array = Array.from({ length: 60 }, (_, i) => i);
    const [figure] = rateMapFigures(one, { fields: { ...fields, array } });
    expect(figure!.title).toBe("Rates");
    const svg = drawSvg(figure!).markup;
    expect(svg).toContain("rotate(-90");
    expect(svg).not.toContain("<0>");
    expect(figure!.numbers.columns[2]).toBe("a condition <0>");
    const twice = {
      ...one,
      columns: { kind: "conditions" as const, title: "", labels: ["a", "a"] },
    };
    const [drawn] = rateMapFigures(twice, { fields: { ...fields, array: array.slice(0, 6) } });
    expect(new Set(drawn!.numbers.columns).size).toBe(4);
  });

  test("of many units and bins stays a small picture, and says what was averaged", () => {
    const [nUnits, nBins] = [1000, 1000];
    const large: RateMapSection = {
      ...section,
      nUnits,
      groups: [{ title: "all", nUnits }],
      columns: { kind: "time", title: "s", from: 0, to: 1, nBins },
      maps: [{ title: "one" }],
    };
    const array = Float64Array.from({ length: nUnits * nBins }, (_, i) => (i * 7919) % 101);
    const units = Array.from({ length: nUnits }, (_, i) => i);
    const [figure] = rateMapFigures(large, { fields: { units, array } });
    expect(drawSvg(figure!).markup.length).toBeLessThan(400_000);
    expect(figure!.caption).toContain("means over 8 units and 8 columns");
    expect(figure!.numbers.rows).toHaveLength(nUnits);
  });

  test("of huge numbers is drawn", () => {
    const array = [1e300, -1e300, ...Array(10).fill(0)];
    for (const figure of rateMapFigures(section, { fields: { ...fields, array } })) {
      expect(drawSvg(figure).markup).not.toMatch(/NaN|Infinity/);
    }
  });
});

test("bands of units cover their height, with titles where there is room for them", () => {
  const place = { top: 10, height: 100, left: 0, right: 50 };
  const groups = [
    { title: "a", nUnits: 1 },
    { title: "b", nUnits: 3 },
  ];
  const { bands, bottom, marks } = unitBands(groups, place);
  expect(bands.map(({ firstUnit, nUnits }) => [firstUnit, nUnits])).toEqual([
    [0, 1],
    [1, 3],
  ]);
  expect(bands.map(({ top, bottom: end }) => end - top)).toEqual([25, 75]);
  expect(bottom).toBe(140);
  expect(marks.markup).toContain("a (1)");
  const many = unitBands(Array(20).fill({ title: "g", nUnits: 1 }), place);
  expect(many.bottom).toBeCloseTo(110);
  expect(many.marks.markup).not.toContain("g (1)");
  expect(bandsCaption(groups)).toBe("");
  expect(bandsCaption(Array(20).fill({ title: "g", nUnits: 1 }))).toMatch(
    /g \(1\) and 8 more groups$/,
  );
});
