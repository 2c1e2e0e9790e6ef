import { join } from "node:path";
import { runCommandLine } from "@penfield/cli";
import { listReports } from "@penfield/report";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { makeSetting, penfield, type Setting } from "./setting.ts";

let setting: Setting;
beforeAll(async () => {
  setting = await makeSetting();
});
afterAll(() => setting.remove());

describe("hooks", () => {
  test("as text and as JSON, all or those of a pattern", async () => {
    const words = ["hooks", "--model", setting.model];
    const text = await penfield(words);
    expect([text.code, text.err]).toEqual([0, expect.not.stringContaining("Error")]);
    expect(text.out).toMatch(/^model: 2 layers, d_model 24, 3 heads, d_mlp \d+, vocabulary 96$/m);
    expect(text.out).toMatch(/^With neutral hooks everywhere the output is bit-equal/m);
    expect(text.out).toMatch(/^blocks\.0\.attn\.hook_pattern .* readable, writable, verified$/m);
    const some = await penfield([...words, "--pattern", "blocks.1.hook_resid_*", "--json"]);
    const { cfg, identity, hooks } = JSON.parse(some.out);
    expect([cfg.nLayers, identity.state]).toEqual([2, "exact"]);
    expect(hooks.map((h: { name: string }) => h.name).sort()).toEqual([
      "blocks.1.hook_resid_mid",
      "blocks.1.hook_resid_post",
      "blocks.1.hook_resid_pre",
    ]);
  });

  test("a pattern that nothing fits lists nothing", async () => {
    const words = ["hooks", "--model", setting.model, "--pattern", "nothing", "--json"];
    expect(JSON.parse((await penfield(words)).out).hooks).toEqual([]);
  });
});

describe("lists", () => {
  test("experiments and stimulus sets, as text and as JSON", async () => {
    const experiments = JSON.parse((await penfield(["run", "--json"])).out);
    expect(experiments.map((e: { id: string }) => e.id)).toContain("language-network");
    expect((await penfield(["run"])).out).toContain("planted-circuit");
    const sets = JSON.parse((await penfield(["corpora", "--json"])).out);
    expect(sets.map((s: { name: string }) => s.name)).toContain("language-localizer");
    const { code, out } = await penfield(["corpora"]);
    expect(code).toBe(0);
    expect(out).toMatch(/^blimp\n.*penfield corpora fetch blimp$/m);
  });
});

describe("run and view", () => {
  test("an experiment's report, told in words and as JSON, is served until it is interrupted", async () => {
    const reports = join(setting.root, "reports");
    const words = ["run", "planted-circuit", "--random", "19", "--threads", "1", "--json"];
    const ran = await penfield([...words, "--out", join(reports, "planted")]);
    expect(ran.code, ran.err).toBe(0);
    const { folder, verdicts } = JSON.parse(ran.out);
    expect(folder).toBe(join(reports, "planted"));
    expect(new Set(verdicts.map((v: { outcome: string }) => v.outcome))).toEqual(new Set(["seen"]));
    expect(await listReports(reports)).toHaveLength(1);

    const stop = new AbortController();
    let told = (_address: string): void => {};
    const address = new Promise<string>((resolve) => {
      told = resolve;
    });
    const out = { write: (text: string) => told(JSON.parse(text).url) };
    const serving = runCommandLine(["view", reports, "--port", "0", "--json"], {
      out,
      err: { write: () => {} },
      signal: stop.signal,
    });
    const url = await address;
    expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/$/);
    expect(await (await fetch(url)).text()).toContain("A planted language circuit");
    stop.abort();
    expect(await serving).toBe(0);
    await expect(fetch(url)).rejects.toThrow();
  });
});
