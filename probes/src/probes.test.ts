import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { probes } from "./probes.ts";

test.each(probes.map((probe) => [probe.id, probe] as const))(
  "%s: its expected.json says what its verdicts judge",
  (_, probe) => {
    const path = new URL(`../${probe.folder}/expected.json`, import.meta.url);
    const { expectations } = JSON.parse(readFileSync(path, "utf8")) as {
      expectations: { text: string }[];
    };
    expect(expectations.map((e) => e.text)).toEqual(probe.expectations);
  },
);
