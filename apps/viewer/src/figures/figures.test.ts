import type {
  AlignmentSection,
  BrainMapSection,
  DissociationSection,
  LesionSection,
  MatrixSection,
  ModelComparisonSection,
  RasterSection,
  RdmsSection,
  Report,
  ScoreMapSection,
  Section,
  SelectionSection,
  SimilaritySection,
  TimecoursesSection,
} from "@penfield/report";
import { reportBytes } from "@penfield/report";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { chooseUnits } from "../reports/localizer.ts";
import { makeBrainReport } from "../testBrainReport.ts";
import { makeComparisonReport, makeTestReport } from "../testReport.ts";
import { listPage } from "../views/listView.ts";
import { localizerExhibits } from "../views/localizerView.ts";
import { reportPage } from "../views/reportView.ts";
import { type SectionMaps, sectionExhibits } from "../views/sections.ts";
import { scoresFigure } from "./alignment.ts";
import { brainMapFigures } from "./brainMap.ts";
import { matrixFigure } from "./dissociation.ts";
import { drawSvg, spread, wrap } from "./exhibit.ts";
import { endsOf, heatDrawing, shortNames } from "./heat.ts";
import { doseFigures } from "./lesion.ts";
import { mapFigure as pointsFigure } from "./map.ts";
import { matrixFigures, rdmFigures, similarityFigure } from "./matrices.ts";
import { differencesFigure, modelsFigure } from "./modelComparison.ts";
import { bestOf } from "./scoreMap.ts";
import { layersFigure, mapFigure } from "./selection.ts";
import { rasterFigures, timecourseFigures } from "./timecourses.ts";

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

describe("comparisons", () => {
  const compared = makeComparisonReport();
  const section = <S extends Section>(id: string): S =>
    compared.report.sections.find((one) => one.id === id) as S;
  const array = (name: string) => compared.arrays[name]!.data as Float64Array;

  test("a heat map's cells have their numbers, and equal numbers one colour", () => {
    const heat = heatDrawing({
      values: [0, 1, 1, 0.5, Number.NaN, 0],
      rows: ["0", "1"],
      columns: ["0", "1", "2"],
      rowTitle: "rows",
      columnTitle: "columns",
      keyTitle: "value",
    }).drawing.content.markup;
    const cells = [...heat.matchAll(/<rect[^>]*?(?:fill="([^"]*)"|class="none")><title>([^<]*)/g)];
    expect(cells.map(([, , told]) => told)).toEqual([
      "0, 0: 0.000",
      "0, 1: 1.000",
      "0, 2: 1.000",
      "1, 0: 0.500",
      "1, 1: not defined",
      "1, 2: 0.000",
    ]);
    const colours = cells.map(([, colour]) => colour);
    expect([colours[0], colours[1]]).toEqual([colours[5], colours[2]]);
    expect(new Set(colours.slice(0, 4)).size).toBe(3);
  });

  test("columns have the names of their files, which stay apart when cut; cells say them whole", () => {
    const files = ["a", "b"].map((last) => `representation-of-seed-${last}.npy`);
    const heat = heatDrawing({
      values: [0, 1, 1, 0],
      rows: files,
      columns: files,
      columnNames: true,
      ...{ rowTitle: "", columnTitle: "", keyTitle: "" },
    }).drawing.content.markup;
    expect(heat.match(/rotate\(-90[^>]*>…tion-of-seed-b</)).not.toBeNull();
    expect(heat).toContain(`<title>${files[0]}, ${files[1]}: 1.000</title>`);
    expect(heat.split(`<title>${files[1]}</title>`)).toHaveLength(3);
    expect(shortNames(["x.npy", "y.npy"])).toEqual(["x", "y"]);
    expect(shortNames(["x.npy", "x.mat"])).toEqual(["x.npy", "x.mat"]);
    expect(shortNames(["first of all the conditions", "second"])[0]).toBe("first of all t…");
    expect(new Set(shortNames(["alike-1-and-more-alike", "alike-2-and-more-alike"])).size).toBe(2);
    expect(shortNames([])).toEqual([]);
  });

  test("layers stand upwards, other things downwards", () => {
    const first = (upwards: boolean): number => {
      const { markup } = heatDrawing({
        ...{ values: [0, 1, 2, 3], rows: ["0", "1"], columns: ["0", "1"] },
        ...{ rowTitle: "", columnTitle: "", keyTitle: "", upwards },
      }).drawing.content;
      return Number(/y="([\d.]+)"[^>]*><title>0, 0/.exec(markup)?.[1]);
    };
    expect(first(true)).toBeGreaterThan(first(false));
  });

  test("large matrices are paths, larger ones are averaged, and say so", () => {
    const of = (n: number) =>
      heatDrawing({
        values: Float64Array.from({ length: n * n }, (_, i) => i % 97),
        rows: Array.from({ length: n }, (_, i) => `row ${i}`),
        columns: Array.from({ length: n }, (_, i) => `row ${i}`),
        ...{ rowTitle: "", columnTitle: "", keyTitle: "" },
      });
    expect([of(60).block, of(500).block]).toEqual([1, 6]);
    expect(of(500).drawing.content.markup.length).toBeLessThan(200_000);
    const drawn = [...of(60).drawing.content.markup.matchAll(/M\d+ \d+h(\d+)v1/g)];
    expect(drawn.reduce((sum, [, length]) => sum + Number(length), 0)).toBe(3600);
  });

  test("ends pass over what is not finite", () => {
    expect(endsOf([Number.NaN, 3, -2, Number.POSITIVE_INFINITY])).toEqual([-2, 3]);
    expect(endsOf([Number.NaN])).toEqual([0, 1]);
  });

  test("matrix, floor and map; the description names the best pair of layers", () => {
    const layers = section<MatrixSection>("layers");
    const values = array("layers.npy");
    const drawn = matrixFigures(layers, { values, floor: array("layers-floor.npy") });
    expect(drawn.map(({ id }) => id)).toEqual(["layers-values", "layers-floor"]);
    const best = values.indexOf(Math.max(...values));
    expect(drawn[0]!.description).toContain(
      `most alike: ${Math.floor(best / 12)} and ${best % 12} with`,
    );
    expect(drawn[0]!.numbers.rows[3]!.slice(1)).toEqual([...values.subarray(36, 48)]);
    const networks = matrixFigures(section<MatrixSection>("networks"), {
      values: array("networks.npy"),
    });
    expect(networks.map(({ id }) => id)).toEqual(["networks-values", "networks-map"]);
    // Most alike are not the networks with themselves.
    expect(networks[0]!.description).not.toMatch(/most alike: (.+) and \1 with/);
  });

  test("an RDM's picture and its pairs agree; a pair that is missing stays blank", () => {
    const rdms = section<RdmsSection>("rdms");
    const drawn = rdmFigures(rdms, { values: array("rdms.npy") });
    expect(drawn.map(({ id }) => id)).toEqual(["rdms-0", "rdms-1", "rdms-2", "rdms-map"]);
    expect(drawn[0]!.numbers.rows).toHaveLength(276);
    expect(drawn[0]!.numbers.rows[5]).toEqual(["stimulus 0", "stimulus 6", null]);
    expect(drawn[1]!.numbers.rows[0]![2]).toBe(array("rdms.npy")[276]);
  });

  test("points keep their distances on the map: one scale for both axes", () => {
    const points = [
      [0, 0],
      [3, 0],
      [0, 1],
    ] as const;
    const { drawing } = pointsFigure("m", "Map", { distance: "d", points, explained: 1 }, [
      ..."abc",
    ]);
    const { markup } = drawing!.content;
    const [x, y] = [places(markup, "cx"), places(markup, "cy")];
    expect((x[1]! - x[0]!) / (y[0]! - y[2]!)).toBeCloseTo(3, 1);
    const one = pointsFigure("m", "Map", { distance: "d", points: [[2, 2]], explained: null }, [
      "only",
    ]);
    expect(drawSvg(one).markup).not.toMatch(/NaN|undefined/);
  });

  test("bars reach their scores; stars, ceiling marks and the band are where they belong", () => {
    const models = section<ModelComparisonSection>("models");
    const { markup } = modelsFigure(models).drawing!.content;
    expect([...markup.matchAll(/class="bar"/g)]).toHaveLength(2);
    expect([...markup.matchAll(/class="bar open"/g)]).toHaveLength(1);
    expect([...markup.matchAll(/∗/g)]).toHaveLength(2);
    expect([...markup.matchAll(/◆/g)]).toHaveLength(1);
    expect(markup).toContain('class="band"');
    const bare = modelsFigure({ ...models, ceiling: null }).drawing!.content.markup;
    expect(bare).not.toContain('class="band"');
    const cells = differencesFigure(models)!.drawing!.content.markup;
    // Both directions of a pair that is not told apart.
    expect([...cells.matchAll(/≈/g)]).toHaveLength(2);
    expect(
      differencesFigure({ ...models, models: models.models.slice(0, 1), pairs: [] }),
    ).toBeNull();
  });

  test("similarities are drawn beside their floors, distances are left to the table", () => {
    const similarity = section<SimilaritySection>("similarity");
    const { drawing, numbers } = similarityFigure(similarity)!;
    expect([...drawing!.content.markup.matchAll(/point localized/g)]).toHaveLength(3);
    expect(numbers.rows).toHaveLength(4);
    expect(drawing!.content.markup).toContain("pwcca ←");
  });
});

const HOSTILE = `"><script>alert(1)</script>&'\u202e`;

describe("pages of any report", () => {
  const compared = makeComparisonReport({ nConditions: 5, nLayers: 3 });
  /** Statistics become null, lists empty and texts hostile, here and there. */
  const wreck = (value: unknown, chance: () => boolean, key = ""): unknown => {
    if (Array.isArray(value)) {
      if (["labels", "conditions"].includes(key))
        return value.map((text) => (chance() ? HOSTILE : text));
      const lists = ["draws", "curves", "effects", "groups", "cells", "top", "pairs", "values"];
      const keep = ![...lists, "rows", "inputs"].includes(key);
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
      "mean",
      "lower",
      "upper",
      "difference",
      "explained",
    ];
    const fixed = ["accuracy", "loss", "linear-cka", "pwcca", "shape", "rho-a"];
    if (texts.includes(key) && typeof value === "string" && !fixed.includes(value) && chance()) {
      return HOSTILE;
    }
    if (typeof value === "number" && statistics.includes(key) && chance()) {
      return chance() ? null : chance() ? 1e308 : chance() ? -1e308 : 5e-324;
    }
    return value;
  };

  /** The localizer's own page, with values of any kind and any threshold. */
  const thresholded = (section: SelectionSection, chance: () => boolean) => {
    const n = section.nLayers * section.nUnits;
    const odd = () => (chance() ? Number.NaN : chance() ? 1e308 : chance() ? -1e308 : 0.01);
    const arrays = {
      t: Float64Array.from({ length: n }, odd),
      q: Float64Array.from({ length: n }, odd),
      mask: Uint8Array.from({ length: n }, () => Number(chance())),
    };
    const threshold = { t: chance() ? undefined : 0, q: chance() ? undefined : 0 };
    return localizerExhibits(section, arrays, chooseUnits(section, arrays, threshold));
  };

  test("never fail, and never show NaN, undefined or somebody's markup", () => {
    fc.assert(
      fc.property(fc.infiniteStream(fc.boolean()), (booleans) => {
        const chance = () => booleans.next().value as boolean;
        const source = chance() ? made : compared;
        const report = wreck(source.report, chance) as Report;
        reportBytes(report);
        const values = (name: string) => compared.arrays[name]!.data as Float64Array;
        const all = new Map<string, SectionMaps>([
          ["selection", maps],
          ["layers", { values: values("layers.npy"), floor: values("layers-floor.npy") }],
          [
            "networks",
            { values: values("networks.npy").map(() => (chance() ? Number.NaN : 1e308)) },
          ],
          ["rdms", { values: values("rdms.npy").map((v) => (chance() ? -1e308 : v)) }],
        ]);
        const pages = [
          reportPage(report, all, "/reports/a"),
          listPage([{ name: HOSTILE, folder: "", report }], HOSTILE),
          ...report.sections
            .flatMap((section) => [
              ...sectionExhibits(section, all.get(section.id)),
              ...(section.kind === "selection" ? thresholded(section, chance) : []),
            ])
            .map((exhibit) => drawSvg(exhibit).markup),
        ];
        for (const page of pages) {
          const bad =
            /.{0,60}(NaN|undefined|Infinity|\[object|<script(?! src="\/viewer\.js" defer>)|\u202e)/.exec(
              page,
            );
          expect(bad?.[0]).toBeUndefined();
        }
      }),
      { numRuns: 80 },
    );
  });
});

describe("recordings and time", () => {
  const made = makeBrainReport({ nLayers: 3, nTimes: 8 });
  const section = <S extends Section>(id: string): S =>
    made.report.sections.find((one) => one.id === id) as S;

  test("the best feature set of each column is the one with the highest score", () => {
    const scores = section<ScoreMapSection>("scores");
    const values = [0.1, 0.5, Number.NaN, 0.3, 0.2, 0.9, 0.2, 0.4, Number.NaN];
    const three = { ...scores, columns: { title: "region", labels: ["a", "b", "c"] } };
    expect(bestOf(three, values)).toEqual([1, 0, 1]);
    expect(
      bestOf(
        three,
        values.map(() => Number.NaN),
      ),
    ).toEqual([-1, -1, -1]);
  });

  test("a voxel's numbers are its indices, millimetres and value", () => {
    const map: BrainMapSection = {
      ...section<BrainMapSection>("map"),
      shape: [2, 3, 2],
      affine: [2, 0, 0, -1, 0, 3, 0, 5, 0, 0, 4, 0, 0, 0, 0, 1],
      nTargets: 2,
    };
    const [drawn] = brainMapFigures(map, {
      fields: { indices: [1 + 2 * (2 + 3 * 1), 0], array: [0.5, Number.NaN] },
    });
    expect(drawn!.numbers.rows).toEqual([
      [1, 2, 1, 1, 11, 4, 0.5],
      [0, 0, 0, -1, 5, 0, null],
    ]);
    expect(drawn!.description).toContain("1 voxels with a value");
  });

  test("a raster has its trial's spikes and no others", () => {
    const raster = { ...section<RasterSection>("raster"), nSpikes: 4, nUnits: 3 };
    const array = [0, 0.1, 2, 1, 0.2, 0, 0, 0.3, 1, 0, 0.4, 7];
    const figures = rasterFigures(raster, { fields: { array } });
    expect(figures.map(({ numbers }) => numbers.rows)).toEqual([
      [
        [0.1, 2],
        [0.3, 1],
      ],
      [[0.2, 0]],
    ]);
  });

  test("gaps in a time course are left open", () => {
    const time: TimecoursesSection = {
      ...section<TimecoursesSection>("time"),
      nTimes: 5,
      series: [{ title: "one", group: "" }],
      spans: [],
    };
    const fields = { times: [0, 1, 2, 3, 4], array: [1, 2, Number.NaN, 2, 1] };
    const [drawn] = timecourseFigures(time, { fields });
    const [, path] = /class="line localized" d="([^"]*)"/.exec(drawn!.drawing!.content.markup)!;
    expect(path!.match(/M/g)).toHaveLength(2);
    expect(drawn!.numbers.rows[2]).toEqual([2, null]);
  });
});
