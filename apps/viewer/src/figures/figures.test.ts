import type {
  AlignmentSection,
  DissociationSection,
  LesionSection,
  Report,
  Section,
  SelectionSection,
} from "@penfield/report";
import { reportBytes } from "@penfield/report";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { makeTestReport } from "../testReport.ts";
import { listPage } from "../views/listView.ts";
import { reportPage } from "../views/reportView.ts";
import { type SectionMaps, sectionExhibits } from "../views/sections.ts";
import { scoresFigure } from "./alignment.ts";
import { matrixFigure } from "./dissociation.ts";
import { drawSvg, spread, wrap } from "./exhibit.ts";
import { doseFigures } from "./lesion.ts";
import { layersFigure, mapFigure } from "./selection.ts";

const made = makeTestReport({ nLayers: 4, nUnits: 50 });
const find = <S extends Section>(kind: S["kind"]): S =>
  made.report.sections.find((section) => section.kind === kind) as S;
const selection = find<SelectionSection>("selection");
const maps = {
  t: made.arrays["selection.t.npy"]!.data as Float32Array,
  mask: made.arrays["selection.mask.npy"]!.data as Uint8Array,
};

/** Every place of a kind of mark: attribute values as numbers. */
const places = (svg: string, attribute: string): number[] =>
  [...svg.matchAll(new RegExp(`${attribute}="(-?[\\d.]+)"`, "g"))].map(([, value]) =>
    Number(value),
  );

describe("spread and wrap", () => {
  test("labels keep their order, their distance and the range", () => {
    expect(spread([10, 11, 50], 12, [0, 100])).toEqual([10, 22, 50]);
    expect(spread([99, 98], 12, [0, 100])).toEqual([100, 88]);
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 200 }), { maxLength: 8 }), (wanted) => {
        const got = [...spread(wanted, 12, [0, 200])].sort((a, b) => a - b);
        for (let i = 1; i < got.length; i++)
          expect(got[i]! - got[i - 1]!).toBeGreaterThanOrEqual(12);
        for (const place of got) expect(place).toBeLessThanOrEqual(200);
      }),
    );
  });

  test("words are put in lines", () => {
    expect(wrap("Sums of small numbers", 12)).toEqual(["Sums of", "small", "numbers"]);
    expect(wrap("Donaudampfschifffahrt", 8)).toEqual(["Donaudamp…"]);
  });
});

describe("the map of t", () => {
  test("its bands count what the array holds", () => {
    const { columns, rows } = mapFigure(selection, maps).numbers;
    const edges = columns
      .slice(2)
      .map((name) => /_from_(\d+)$/.exec(name)?.[1])
      .findLast(Boolean);
    rows.forEach((row, layer) => {
      const values = Array.from(maps.t.subarray(layer * 50, (layer + 1) * 50));
      expect((row as number[]).slice(1).reduce((a, b) => a + b, 0)).toBe(50);
      expect(row.at(-1)).toBe(values.filter((value) => value >= Number(edges)).length);
      expect(row[5]).toBe(values.filter((value) => Math.abs(value) < 2).length);
    });
  });

  test("coloured stretches cover each row exactly once", () => {
    const svg = drawSvg(mapFigure(selection, maps)).markup;
    const rows = svg.split("<g>").slice(1);
    expect(rows).toHaveLength(4);
    for (const row of rows) {
      const shades = [...row.matchAll(/width="([\d.]+)"[^>]*class="shade/g)].map(([, w]) =>
        Number(w),
      );
      expect(shades.reduce((a, b) => a + b, 0)).toBeCloseTo(344 - 14 - 38, 0);
    }
  });

  test("units without a t are left blank and counted", () => {
    const t = Float32Array.from(maps.t, (value, i) => (i < 5 ? Number.NaN : value));
    const map = mapFigure(selection, { t, mask: maps.mask });
    expect(map.numbers.rows[0]![1]).toBe(5);
    expect(drawSvg(map).markup).not.toContain("NaN");
  });
});

test("a selection that was not held out shows no held-out figure", () => {
  const { heldOut } = selection;
  const ids = (section: SelectionSection) => sectionExhibits(section, maps).map(({ id }) => id);
  expect(ids(selection)).toContain("selection-held-out");
  expect(ids({ ...selection, heldOut: { ...heldOut, nSplits: 0 } })).toEqual([
    "selection-layers",
    "selection-map",
  ]);
});

test("the layers' bars and counts agree", () => {
  const { drawing, numbers } = layersFigure(selection);
  const counts = selection.layers.map(({ nSelected }) => nSelected);
  expect(numbers.rows.map((row) => row[1])).toEqual(counts);
  const bars = [...drawing!.content.markup.matchAll(/width="([\d.]+)"[^>]*class="bar-localized"/g)];
  const most = Math.max(...counts);
  bars.forEach(([, width], i) => {
    expect(Number(width)).toBeCloseTo((50 * counts[i]!) / most, 0);
  });
});

describe("dose curves", () => {
  const lesion = find<LesionSection>("lesion");

  test("one figure for each task, with every number that it draws", () => {
    const drawn = doseFigures(lesion);
    expect(drawn.map(({ id }) => id)).toEqual(
      ["blimp", "agreement", "sums", "copying", "text"].map((task) => `lesion-dose-${task}`),
    );
    expect(drawn[0]!.numbers.rows).toHaveLength(1 + 4 * 5);
    expect(drawn[0]!.numbers.rows[0]!.slice(0, 4)).toEqual(["baseline", 0, 0, 0.803]);
  });

  test("a fall is drawn downwards, and every mark lies inside the drawing", () => {
    for (const exhibit of doseFigures(lesion)) {
      const { markup } = exhibit.drawing!.content;
      const heights = [...markup.matchAll(/cy="([\d.]+)" r="3.2" class="point localized"/g)].map(
        ([, y]) => Number(y),
      );
      expect(heights).toHaveLength(5);
      const falls = heights.at(-1)! > heights[0]!;
      expect(falls).toBe(exhibit.id !== "lesion-dose-text");
      for (const x of places(markup, "(?:cx|x|x1|x2)")) expect(x).toBeLessThanOrEqual(344);
      for (const y of places(markup, "(?:cy|y|y1|y2)")) {
        expect(y).toBeGreaterThanOrEqual(0);
        expect(y).toBeLessThanOrEqual(exhibit.drawing!.height);
      }
    }
  });

  test("a single dose, and curves without values, can be drawn", () => {
    const single: LesionSection = {
      ...lesion,
      doses: [1],
      curves: lesion.curves.map((curve) => ({
        ...curve,
        points: curve.points
          .filter(({ dose }) => dose === 1)
          .map((point) =>
            curve.set === "localized"
              ? { ...point, value: { value: null, interval: null } }
              : point,
          ),
      })),
    };
    for (const exhibit of doseFigures(single))
      expect(drawSvg(exhibit).markup).not.toMatch(/NaN|undef/);
  });
});

test("a dissociation's harm has one colour, whether less accuracy or more loss", () => {
  const { markup } = matrixFigure(find<DissociationSection>("dissociation")).drawing!.content;
  const shades = [...markup.matchAll(/class="shade-(\d)"/g)].map(([, shade]) => Number(shade));
  expect(shades).toEqual([6, 4, 6, 3, 5, 3]);
});

test("an alignment without ceiling or intervals can be drawn", () => {
  const alignment = find<AlignmentSection>("alignment");
  const bare: AlignmentSection = {
    ...alignment,
    ceiling: null,
    rows: alignment.rows.map((row) => ({ ...row, score: { value: -0.1, interval: null } })),
  };
  const svg = drawSvg(scoresFigure(bare)).markup;
  expect(svg).not.toContain("ceiling");
  expect(svg).not.toMatch(/NaN|undefined/);
});

const HOSTILE = `"><script>alert(1)</script>&'\u202e`;

describe("pages of any report", () => {
  /** Statistics become null, lists empty and texts hostile, here and there. */
  const wreck = (value: unknown, chance: () => boolean, key = ""): unknown => {
    if (Array.isArray(value)) {
      const keep = !["draws", "curves", "effects", "groups", "rows", "cells", "top"].includes(key);
      if (!keep && chance()) return [];
      return value.map((item) => wreck(item, chance, key));
    }
    if (typeof value === "object" && value !== null) {
      return Object.fromEntries(
        Object.entries(value).map(([name, inner]) => [name, wreck(inner, chance, name)]),
      );
    }
    const texts = ["title", "reading", "expectation", "group", "text", "hook", "metric", "name"];
    const statistics = [
      "value",
      "p",
      "z",
      "t",
      "q",
      "d",
      "tMean",
      "p5",
      "p25",
      "p50",
      "max",
      "chance",
    ];
    if (texts.includes(key) && value !== "accuracy" && value !== "loss" && chance()) return HOSTILE;
    if (typeof value === "number" && statistics.includes(key) && chance()) {
      return chance() ? null : chance() ? 1e308 : chance() ? -1e308 : 5e-324;
    }
    return value;
  };

  test("never fail, and never show NaN, undefined or somebody's markup", () => {
    fc.assert(
      fc.property(fc.infiniteStream(fc.boolean()), (booleans) => {
        const report = wreck(made.report, () => booleans.next().value as boolean) as Report;
        reportBytes(report);
        const all = new Map<string, SectionMaps>([["selection", maps]]);
        const pages = [
          reportPage(report, all, "/reports/a"),
          listPage([{ name: HOSTILE, folder: "", report }], HOSTILE),
          ...report.sections
            .flatMap((section) => sectionExhibits(section, all.get(section.id)))
            .map((exhibit) => drawSvg(exhibit).markup),
        ];
        for (const page of pages) {
          const bad = /.{0,60}(NaN|undefined|Infinity|\[object|<script|\u202e)/.exec(page);
          expect(bad?.[0]).toBeUndefined();
        }
      }),
      { numRuns: 40 },
    );
  });
});
