import { describe, expect, test } from "vitest";
import { commands } from "./commands.ts";
import { helpOf, helpText, overview } from "./help.ts";
import { penfield } from "./testRun.ts";

describe("help", () => {
  test("every verb has a section, and every line of the text is in one", () => {
    const all = Object.keys(commands).map((verb) => helpOf(verb)!.split("\n\n")[0]);
    for (const line of helpText.split("\n\n")[2]!.split("\n")) {
      if (line.startsWith("--version")) continue;
      expect(
        all.some((section) => section!.split("\n").includes(line)),
        line,
      ).toBe(true);
    }
  });

  test("the overview names every verb, without options of its own", () => {
    for (const verb of Object.keys(commands)) {
      expect(overview()).toMatch(new RegExp(`^${verb} .{10}`, "m"));
    }
    expect(overview()).not.toMatch(/^ +--/m);
    expect(overview().split("\n").length).toBeLessThan(35);
  });

  test.each(["--help", "-h"])(
    "%s after a verb shows its options and runs nothing",
    async (flag) => {
      const { code, out } = await penfield(["census", "--out", "nowhere", flag]);
      expect(code).toBe(0);
      expect(out).toBe(helpOf("census"));
      expect(out).toMatch(/^census .*--keep-share/s);
      expect(out).not.toContain("--min-r");
    },
  );

  test("help with a verb, with all, with a word that is none", async () => {
    expect((await penfield(["help"])).out).toBe(overview());
    expect((await penfield(["help", "rsa"])).out).toBe(helpOf("rsa"));
    expect((await penfield(["help", "all"])).out).toBe(helpText);
    const { code, err } = await penfield(["help", "nothing"]);
    expect(code).toBe(2);
    expect(err).toMatch(/help: expected all or a verb \(run, .*\), got "nothing"/);
  });
});
