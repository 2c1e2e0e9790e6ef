import { describe, expect, test } from "vitest";
import { measures } from "./measures.ts";
import { type MeasureInfo, type MeasureKind, sampleWarning } from "./registry.ts";

test("names are unique within a kind, and spelled as the command line spells them", () => {
  const names = measures.map(({ kind, name }) => `${kind} ${name}`);
  expect(new Set(names).size).toBe(names.length);
  for (const { name } of measures) expect(name).toMatch(/^[a-z][a-z0-9]*(-[a-z0-9]+)*$/);
});

describe.each(measures.map((one) => [`${one.kind} ${one.name}`, one] as const))("%s", (_, one) => {
  test("says whether it is a metric, what makes no difference to it, what it costs and where it is from", () => {
    expect(typeof one.metric).toBe("boolean");
    expect(typeof one.symmetric).toBe("boolean");
    // The axioms: symmetric, and 0 for what is alike.
    if (one.metric) {
      expect(one.symmetric).toBe(true);
      expect(one.larger).toBe("less alike");
    }
    expect(new Set(one.invariances).size).toBe(one.invariances.length);
    expect(one.cost).toMatch(/[a-z]/);
    expect(one.memory).toMatch(/[a-z]/);
    // A name and a year.
    expect(one.source).toMatch(/[A-Z].*\b\d{4}\b/);
  });

  test("says from how many samples on it means something, and warns below", () => {
    for (const nUnits of [1, 10, 1000]) {
      const least = one.minSample(nUnits);
      expect(Number.isInteger(least)).toBe(true);
      expect(least).toBeGreaterThan(1);
      expect(sampleWarning(one, least, nUnits)).toBeUndefined();
      expect(sampleWarning(one, least - 1, nUnits)).toContain(one.minSampleRule);
    }
  });
});

const kinds: readonly (readonly [MeasureKind, string])[] = [
  ["representation", "Two representations, `[nStimuli, nUnits]` each"],
  [
    "stochastic",
    "Two representations with repeats, `[nTrials, nStimuli, nUnits]` each (rows are times for `gaussian-process-shape`)",
  ],
  ["dynamics", "Two trajectories, `[nTimes, nUnits]` or `[nTrials, nTimes, nUnits]` each"],
  ["rdm", "RDMs of one representation (`penfield rsa --rdm NAME`)"],
  [
    "rdm-comparison",
    "Two RDMs (`penfield compare`; `penfield rsa --comparison NAME`, without `rdm-`)",
  ],
];

test("the table of all measures in the docs is the registry's", async () => {
  const row = (one: MeasureInfo): string => {
    const kind = [
      one.larger,
      ...(one.metric ? ["**a metric**"] : []),
      ...(one.symmetric ? [] : ["not symmetric"]),
    ];
    const cells = [
      `\`${one.name}\``,
      `${one.title} (${one.source})`,
      kind.join(", "),
      one.invariances.join(", ") || "nothing",
      one.minSampleRule,
      one.withoutVariation === "defined" ? "a number" : "NaN",
      `${one.cost}; ${one.memory}`,
    ];
    return `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  };
  const sections = kinds.map(([kind, title]) => {
    const rows = measures.filter((one) => one.kind === kind).map(row);
    return `## ${title}

| name | measure | larger is | no difference to it | needs | of what does not vary | cost; memory |
|---|---|---|---|---|---|---|
${rows.join("\n")}
`;
  });
  const page = `# Every measure

What \`penfield compare --list\` and \`measures\` of \`@penfield/compare\` say; what is claimed of invariances, symmetry, axioms and data that do not vary is tested. n: stimuli or conditions, p and q: units, r: repeats. With less than it needs a measure is computed and the
number noted, or refused where it is not defined. What for, and when it misleads: [similarity](similarity.md), [shapes, noise, dynamics](shape-metrics.md), [RSA](rsa.md).
Written by \`npx vitest run packages/compare/src/registry.test.ts -u\`.

${sections.join("\n")}`;
  await expect(page).toMatchFileSnapshot("../../../docs/measures-table.md");
});
