import { describe, expect, test } from "vitest";
import { measures } from "./measures.ts";
import { sampleWarning } from "./registry.ts";

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
