import { existsSync } from "node:fs";
import { isAbsolute, join } from "node:path";
import { describe, expect, test } from "vitest";
import {
  defaultOrganism,
  isOrganism,
  isSpikingOrganism,
  organismFolder,
  organisms,
  spikingOrganismFolder,
  spikingOrganisms,
} from "./index.ts";

describe("the models that ship with Penfield", () => {
  test("have names, and only those are theirs", () => {
    expect(organisms).toContain(defaultOrganism);
    for (const name of organisms) expect(isOrganism(name)).toBe(true);
    for (const name of ["gpt2", "", "organism-c", "constructor", "Organism-A"]) {
      expect(isOrganism(name)).toBe(false);
    }
  });

  test.each(organisms)("%s has a folder of its own", (name) => {
    const folder = organismFolder(name);
    expect(isAbsolute(folder)).toBe(true);
    expect(folder.endsWith(name)).toBe(true);
  });

  const here = organisms.filter((name) => existsSync(join(organismFolder(name), "onnx")));
  test.skipIf(here.length === 0)(
    "are laid out like hub repositories (skipped until they are trained)",
    () => {
      for (const name of here) {
        for (const file of ["onnx/model.onnx", "config.json", "tokenizer.json"]) {
          expect(existsSync(join(organismFolder(name), file)), `${name}/${file}`).toBe(true);
        }
      }
    },
  );
});

describe("the spiking networks that ship with Penfield", () => {
  test("have names of their own", () => {
    for (const name of spikingOrganisms) {
      expect(isSpikingOrganism(name)).toBe(true);
      expect(isOrganism(name)).toBe(false);
    }
    for (const name of ["organism-a", "", "constructor"])
      expect(isSpikingOrganism(name)).toBe(false);
  });

  test.each(spikingOrganisms)(
    "%s has its file, conventions, card, curve and golden spikes",
    (name) => {
      const folder = spikingOrganismFolder(name);
      expect(isAbsolute(folder)).toBe(true);
      for (const file of [
        "network.nir",
        "config.json",
        "README.md",
        "provenance.json",
        "loss.csv",
        "golden.json",
      ]) {
        expect(existsSync(join(folder, file)), file).toBe(true);
      }
    },
  );
});
