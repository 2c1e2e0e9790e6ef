import {
  appendFile,
  cp,
  mkdtemp,
  readdir,
  readFile,
  rm,
  symlink,
  truncate,
  writeFile,
} from "node:fs/promises";
import { request as httpRequest, type IncomingHttpHeaders } from "node:http";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { ArgumentError, ModelError } from "@penfield/core";
import { writeReport } from "@penfield/report";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Busy } from "../answers.ts";
import {
  exportPage,
  exportSite,
  type LiveModel,
  type RunningViewer,
  startViewer,
} from "../index.ts";
import { makeTestReport } from "../testReport.ts";
import { visibleToken } from "../views/tokens.ts";
import { makeTestCensus, N_LAYERS, TEST_SHA256, UNITS_PER_LAYER } from "./testCensus.ts";
import { PatternThread } from "./timedRegex.ts";

let root: string;
let viewer: RunningViewer;
const N_UNITS = N_LAYERS * UNITS_PER_LAYER;

/** A model that answers by what the text asks for. */
const toyModel: LiveModel = {
  name: "toy-model",
  activations({ text, index, signal }) {
    if (text === "fail") return Promise.reject(new ModelError("the process ended (SIGKILL)"));
    if (text === "hang") {
      return new Promise((_, reject) => {
        signal.addEventListener("abort", () => reject(new Error("stopped")));
      });
    }
    const tokens = text.split(/(?= )/);
    return Promise.resolve({
      tokens,
      values: tokens.map((_, i) => (i === 1 ? 2.5 : index / 1000)),
      sha256: text.startsWith("other") ? "ff" : TEST_SHA256,
      silenced: text.startsWith("lesion")
        ? {
            logProbs: tokens.map((_, i) => (i === 0 ? Number.NaN : -2)),
            silencedLogProbs: tokens.map((_, i) => (i === 0 ? Number.NaN : -2 - i)),
            others: [0.1, -0.2, 1.7, -2],
          }
        : undefined,
    });
  },
};

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "penfield-censuses-"));
  const a = await makeTestCensus(join(root, "toy-a"), { neighbour: "toy-b" });
  await a.close();
  await cp(join(root, "toy-a"), join(root, "toy-b"), { recursive: true });
  await rm(join(root, "toy-b/classes.jsonl"));
  await rm(join(root, "toy-b/neighbours.jsonl"));
  await writeReport(
    join(root, "experiment"),
    makeTestReport({ nLayers: N_LAYERS, nUnits: UNITS_PER_LAYER }),
  );
  await writeFile(join(root, "secret.txt"), "secret");
  viewer = await startViewer({
    reportsFolder: root,
    port: 0,
    live: toyModel,
    liveTimeoutSeconds: 0.1,
  });
});
afterAll(async () => {
  await viewer?.close();
  await rm(root, { recursive: true, force: true });
});

/** A request as it is written, without the tidying of addresses that fetch does. */
function get(
  path: string,
  own: RunningViewer = viewer,
): Promise<{ status: number; headers: IncomingHttpHeaders; body: string }> {
  const { port } = new URL(own.url);
  return new Promise((resolve, reject) => {
    const request = httpRequest({ host: "127.0.0.1", port, path }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("end", () =>
        resolve({
          status: response.statusCode!,
          headers: response.headers,
          body: Buffer.concat(chunks).toString("utf8"),
        }),
      );
    });
    request.on("error", reject);
    request.end();
  });
}
/** What JSON.parse gives: its form is what the tests are about. */
type Loose = ReturnType<typeof JSON.parse>;
const json = async (path: string): Promise<Loose> => JSON.parse((await get(path)).body);

const a = "/censuses/toy-a";
const pages = [
  a,
  `${a}/units`,
  `${a}/units?layer=1&type=token-detector&described=described&q=bank&sort=-r`,
  `${a}/units/0/1`,
  `${a}/units/1/10`,
  `${a}/units/0/59`,
  `${a}/units/1/1?text=a%20b`,
  `${a}/compare`,
  `${a}/compare?n=0.1,1.2`,
  `${a}/compare?n=0.1&with=toy-b&m=1.10`,
  `${a}/compare?with=toy-b`,
  `${a}/search`,
  `${a}/search?q=bank`,
  `${a}/sets`,
  `${a}/units?set=experiment%2Fselection`,
  `${a}/units/0/1?shade=context`,
  "/censuses/toy-b",
  "/censuses/toy-b/units/0/1",
];

describe("pages", () => {
  test("the list names censuses beside reports", async () => {
    const { body } = await get("/");
    expect(body).toContain('href="/censuses/toy-a"');
    expect(body).toContain('href="/reports/experiment"');
  });

  test.each(pages)(
    "%s: small, without script, every id once, every link an answer",
    async (path) => {
      const { status, headers, body } = await get(path);
      expect(status).toBe(200);
      expect(headers["content-security-policy"]).toContain("default-src 'none'");
      expect(headers["content-security-policy"]).toContain("form-action 'self'");
      expect(body.length).toBeLessThan(150_000);
      const own = '<script src="/viewer.js" defer></script>';
      expect(body.replace(own, "")).not.toMatch(/<script|javascript:|\son\w+="|style="/i);
      const ids = [...body.matchAll(/\sid="([^"]*)"/g)].map(([, id]) => id!);
      expect(new Set(ids).size).toBe(ids.length);
      for (const [, target] of body.matchAll(/(?:href="#|aria-labelledby=")([^"]+)"/g)) {
        for (const id of target!.split(" ")) expect(ids).toContain(id);
      }
      const links = [...body.matchAll(/href="(\/[^"]*)"/g)].map(
        ([, link]) => link!.replaceAll("&amp;", "&").split("#")[0]!,
      );
      const files = links.filter((link) => /\.(json|csv|svg)(\?|$)/.test(link));
      expect(files.length).toBeGreaterThan(0);
      for (const link of new Set([...files, ...links.slice(0, 12)])) {
        expect([link, (await get(link)).status]).toEqual([link, 200]);
      }
    },
  );

  test("tokens and names are text, whatever they hold, and what is hidden is shown", async () => {
    for (const path of [
      `${a}/units/0/10`,
      `${a}/units/0/11`,
      `${a}/units/0/12`,
      `${a}/units/0/13`,
    ]) {
      const { body } = await get(path);
      for (const shown of [
        "&lt;script&gt;alert(1)&lt;/script&gt;",
        "[U+202E]evil",
        "[U+0000]",
        "↵",
      ]) {
        expect([path, body.includes(shown)]).toEqual([path, true]);
      }
      for (const hidden of ["\u202e", "\u0000", "<b>"]) expect(body).not.toContain(hidden);
    }
    const { body } = await get(`${a}/search?q=${encodeURIComponent("<script>")}`);
    expect(body).toContain("&lt;script&gt;");
  });

  test("what a description, a document, a model or a folder is called is text in every place", async () => {
    const hostile = '"><script>alert(1)</script>\u202e\u0000';
    const folder = join(root, "<img src=x onerror=alert(1)>");
    await cp(join(root, "toy-b"), folder, { recursive: true });
    const meta = JSON.parse(await readFile(join(folder, "meta.json"), "utf8"));
    meta.model.name = hostile;
    await writeFile(join(folder, "meta.json"), JSON.stringify(meta));
    const note = { unit: 1, sentence: hostile, r: 0.9, rule: hostile, source: hostile };
    const wrong = { unit: 2, refusal: hostile, r: 0.1 };
    await writeFile(
      join(folder, "descriptions.jsonl"),
      [note, wrong].map((line) => `${JSON.stringify(line)}\n`).join(""),
    );
    await writeFile(
      join(folder, "classes.jsonl"),
      `${JSON.stringify({ unit: 1, types: [hostile], primary: hostile, families: [{ kind: hostile, name: hostile, varianceReduction: 0.5 }] })}\n`,
    );
    const base = `/censuses/${encodeURIComponent("<img src=x onerror=alert(1)>")}`;
    const q = encodeURIComponent("<script>");
    for (const path of [
      ...["/", base, `${base}.svg`, `${base}/units?sort=-r`, `${base}/units?q=${q}`],
      ...[`${base}/search?q=${q}`, `${base}/units/0/1`, `${base}/units/0/2`, `${base}/sets`],
      ...[`${base}/compare?n=0.1%2C0.2&with=toy-a&m=0.1`, `${base}/compare.svg?n=0.1`],
      ...[`${base}/units/0/1?embed=1`, `${base}/units/0/1.svg`],
    ]) {
      const { status, body } = await get(path);
      expect([path, status]).toEqual([path, 200]);
      const own = body.replace('<script src="/viewer.js" defer></script>', "");
      const found = ["<script", "<img", "\u202e", "\u0000"].filter((text) => own.includes(text));
      expect([path, found]).toEqual([path, []]);
      if (path.endsWith("/1"))
        expect(own).toContain("&lt;script&gt;alert(1)&lt;/script&gt;[U+202E]");
    }
    const site = join(root, ".hostile");
    await exportSite(site, { reportsFolder: folder, nUnits: 3 });
    const written = await readFile(join(site, "index.html"), "utf8");
    expect(written).not.toMatch(/<img|<script(?! src)/);
    await Promise.all([folder, site].map((path) => rm(path, { recursive: true })));
  });

  test("white space stands as signs", () => {
    expect(visibleToken(" cat")).toBe("␣cat");
    expect(visibleToken(" cat", true)).toBe(" cat");
    expect(visibleToken("\n\n", true)).toBe("↵↵");
    expect(visibleToken("\ta\u00a0b", true)).toBe("→a⍽b");
    expect(visibleToken("  x", true)).toBe("␣␣x");
  });

  test("a unit says what it does, with scores and floors, or why there is no description", async () => {
    const { body } = await get(`${a}/units/0/1`);
    expect(body).toMatch(/<h2 id="description">active on &#39; bank&#39;<\/h2>/);
    expect(body).toMatch(
      />precision<\/th><td[^>]*>0\.900<\/td><td[^>]*>0\.110<\/td><td>the rules of other units<\/td>/,
    );
    expect(body).toContain(
      "Writes: promotes &#39;ing&#39;. Setting the unit moves those tokens by +0.400 nats; setting random units does by +0.010 (p 0.048), the tokens that other units name by +0.020 (p 0.030): this holds.",
    );
    expect(body).toContain("held-out r 0.90 [0.50, 0.95]");
    expect(body).toMatch(/<mark class="m\d">bank<sub>/);
    const refused = (await get(`${a}/units/0/59`)).body;
    expect(refused).toContain("No reliable description");
    expect(refused).toContain("refused: dead: never active");
    expect(refused).toContain("Never active on");
    expect((await get("/censuses/toy-b/units/1/59")).body).toContain(
      "Nobody has described this unit",
    );
  });

  test("kinds of contexts have their names, shares and contexts; what is no context of the unit is left out", async () => {
    const { facets } = await json(`${a}/units/0/1.json`);
    expect(facets.kinds.map(({ phrase }: Loose) => phrase)).toEqual(["on ' the'", null]);
    expect(facets.kinds.map(({ contexts }: Loose) => contexts.length)).toEqual([2, 2]);
    const [context] = facets.kinds[0].contexts;
    expect(context.tokens[context.peak]).toBe(" bank");
    const { body } = await get(`${a}/units/0/1`);
    expect(body).toContain('<h2 id="facets">2 kinds of contexts</h2>');
    expect(body).toContain("Active on &#39; the&#39;");
    expect(body).toContain(
      "7 contexts; the name holds for 90 %, and for 5 % of the others and of random places",
    );
    const folder = join(root, "facets");
    await cp(join(root, "toy-b"), folder, { recursive: true });
    const hostile = [
      { unit: 1, facets: "x" },
      {
        unit: 2,
        facets: [null, { phrase: 7, words: [{}, "<b>"], contexts: [{ start: 1e12, peak: -1 }] }],
      },
      { unit: 3, common: "<script>", facets: [{}] },
      { unit: 4, common: "<script>", facets: [{}, {}] },
    ];
    await writeFile(
      join(folder, "facets.jsonl"),
      hostile.map((note) => `${JSON.stringify(note)}\n`).join(""),
    );
    const shown = async (unit: number) => (await get(`/censuses/facets/units/0/${unit}`)).body;
    expect(await shown(1)).not.toContain('id="facets"');
    expect(await shown(2)).toContain("2 kinds of contexts");
    expect(await shown(2)).toContain("&lt;b&gt;");
    expect(await shown(3)).toContain("No words are common to them");
    expect(await shown(4)).toContain("What they share: active &lt;script&gt;.");
    await rm(folder, { recursive: true });
  });

  test("the .json of a unit has what the page shows", async () => {
    const record = await json(`${a}/units/0/1.json`);
    expect(record).toMatchObject({ name: "0.1", index: 1, types: ["token-detector"] });
    expect(record.contexts.top.every((c: Loose) => c.tokens[c.peak] === " bank")).toBe(true);
    expect(
      record.contexts.top.every((c: Loose) => Math.abs(c.values[c.peak] - c.value) < 0.01),
    ).toBe(true);
    expect(record.ngrams[0].most).toEqual([{ text: [" bank"], count: record.nActive }]);
    const counted = record.histogram.counts.reduce((sum: number, count: number) => sum + count, 0);
    expect(counted).toBe((await json(`${a}.json`)).meta.nTokens);
    expect(record.neighbours[0]).toMatchObject({ census: "toy-b", name: "0.1", r: 0.99 });
    expect(record.weights.top).toEqual([[" bank", 0.8]]);
    expect(record.counterexamples.falsePositives[0]).toMatchObject({
      document: "document-1",
      peak: 3,
    });
  });

  test("without classes.jsonl only dead and dense units are told", async () => {
    const { layers } = await json("/censuses/toy-b.json");
    expect(layers[0].types).toEqual({ dead: 10, none: 50 });
    expect((await get("/censuses/toy-b")).body).toContain("has no classes.jsonl");
  });

  test("a localized unit leads to its ablation and its brain row, and the report leads to the unit", async () => {
    const report = (await get("/reports/experiment")).body;
    const address = /href="(\/censuses\/toy-a\/units\/[^"]+)"/.exec(report)![1]!;
    const { body } = await get(address);
    expect(body).toContain("<strong>Localized</strong>");
    expect(body).toContain('href="/reports/experiment#section-lesion"');
    expect(body).toContain('href="/reports/experiment#section-alignment"');
    const [found] = (await json(`${address}.json`)).reports;
    expect(found.localizer.selected).toBe(true);
    expect(found.ablation.length).toBeGreaterThan(0);
    expect(found.brain.length).toBe(1);
    const others = (await json(`${a}/units/0/59.json`)).reports;
    expect(others).toMatchObject([{ localizer: { selected: false }, ablation: [], brain: [] }]);
  });
});

describe("the table of units", () => {
  test.each(["unit", "-unit", "r", "-r", "frequency", "-max", "kurtosis"])(
    "sorted by %s, pages hold every unit once, in order",
    async (sort) => {
      const seen: string[] = [];
      const values: (number | null)[] = [];
      let after = "";
      for (let i = 0; i < 5; i++) {
        const page = await json(`${a}/units.json?sort=${sort}${after && `&after=${after}`}`);
        expect(page.nFound).toBe(N_UNITS);
        expect(page.nBefore).toBe(seen.length);
        for (const row of page.units) {
          seen.push(row.unit);
          values.push(row[sort.replace("-", "")] ?? null);
        }
        if (page.next === null) break;
        after = page.next;
      }
      expect(new Set(seen).size).toBe(N_UNITS);
      expect(seen.length).toBe(N_UNITS);
      if (/unit$/.test(sort)) return;
      const known = values.filter((value) => value !== null);
      const sorted = [...known].sort((x, y) => (sort.startsWith("-") ? y - x : x - y));
      expect(known).toEqual(sorted);
      expect(values.slice(known.length).every((value) => value === null)).toBe(true);
    },
  );

  test("filters and searches agree with going through all units", async () => {
    const all = [
      ...(await json(`${a}/units.json`)).units,
      ...(await json(`${a}/units.json?after=1.39`)).units,
    ];
    expect(all.length).toBe(N_UNITS);
    const names = async (query: string) =>
      (await json(`${a}/units.json?${query}`)).units.map((row: Loose) => row.unit);
    const those = (fits: (row: Loose) => boolean) => all.filter(fits).map((row: Loose) => row.unit);
    expect(await names("layer=1")).toEqual(those(({ unit }) => unit.startsWith("1.")));
    expect(await names("layer=blocks.1.hook_resid_post")).toEqual(await names("layer=1"));
    expect(await names("type=dead")).toEqual(those(({ types }) => types === "dead"));
    expect(await names("type=none")).toEqual([]);
    expect(await names("described=refused")).toEqual(those(({ state }) => state === "refused"));
    expect(await names("described=not%20tried")).toEqual(
      those(({ state }) => state === "not tried"),
    );
    expect(await names("q=BANK&in=descriptions")).toEqual(
      those(({ description }) => description?.toLowerCase().includes("bank")),
    );
    expect(
      await names(`how=regex&in=descriptions&q=${encodeURIComponent("after '.*ing'$")}`),
    ).toEqual(those(({ description }) => /after '.*ing'$/.test(description ?? "")));
    // Tokens are those on which a unit is active: unit 1 on " bank", unit 7 on " Bank".
    expect((await names("q=bank&in=tokens")).slice(0, 2)).toEqual(["0.1", "0.7"]);
    expect(await names("q=zebra")).toEqual([]);
    expect((await get(`${a}/units.csv?layer=0`)).body.split("\r\n").length).toBe(
      UNITS_PER_LAYER + 2,
    );
  });

  test("a search ranks the word itself before words that hold it", async () => {
    const { hits } = await json(`${a}/search.json?q=ing`);
    const tokens = hits.filter((hit: Loose) => hit.found === "token");
    expect(tokens[0]).toMatchObject({ unit: "0.6", text: "ing", score: 1 });
    const descriptions = hits.filter((hit: Loose) => hit.found === "description");
    expect(descriptions.map((hit: Loose) => hit.score)).toEqual(
      descriptions.map((hit: Loose) => hit.score).sort((x: number, y: number) => y - x),
    );
  });

  test.each([
    ["sort=colour", "Units are not sorted by"],
    ["layer=99", "There is no layer"],
    ["after=9.9", "There is no unit"],
    ["how=magic", "how is one of text, regex"],
    ["in=here", "in is one of"],
    ["described=x", "described is one of"],
    ["q=(&how=regex", "This is not a regular expression"],
    [`q=${"x".repeat(201)}`, "at most 200 characters"],
  ])("?%s is refused with a reason", async (query, reason) => {
    const { status, body } = await get(`${a}/units?${query}`);
    expect(status).toBe(400);
    expect(body).toContain(reason);
    expect((await get(`${a}/units`)).status).toBe(200);
  });

  test("a pattern that tries too many ways is stopped, and keeps nobody else waiting", async () => {
    const patterns = new PatternThread();
    const [long, short] = [[`${"a".repeat(60)}!`], ["bank", "river", ""]];
    const hostile = patterns.match("(a+)+$", long);
    const waiting = hostile.catch((error) => error);
    // This thread goes on: a timer fires long before the pattern is stopped.
    const first = await Promise.race([
      waiting.then(() => "pattern"),
      new Promise((resolve) => setTimeout(() => resolve("timer"), 1)),
    ]);
    expect(first).toBe("timer");
    await expect(hostile).rejects.toThrow(ArgumentError);
    await expect(hostile).rejects.toThrow("more than 500 ms over 2000 texts");
    expect([...(await patterns.match("^B", short))]).toEqual([1, 0, 0]);
    expect([...(await patterns.match("\\p{Lu}ank", ["Bank"]))]).toEqual([1]);
    // More texts than are tried at once.
    const many = Array.from({ length: 4500 }, (_, i) => `text ${i}`);
    const ends = await patterns.match("99$", many);
    expect(ends.reduce((sum, one) => sum + one, 0)).toBe(45);
    expect(ends[4499]).toBe(1);
    expect([...(await patterns.match(".*", short))]).toEqual([1, 1, 0]);
    patterns.forget(short);
    expect([...(await patterns.match("R", short))]).toEqual([0, 1, 0]);
    await expect(patterns.match("(", short)).rejects.toThrow("not a regular expression");
  });

  test("only so many patterns wait", async () => {
    const patterns = new PatternThread();
    const texts = ["bank"];
    const all = await Promise.allSettled(
      Array.from({ length: 12 }, () => patterns.match("b", texts)),
    );
    expect(all.filter(({ status }) => status === "fulfilled")).toHaveLength(8);
    const [turned] = all.filter((one) => one.status === "rejected");
    expect(turned!.reason).toBeInstanceOf(Busy);
  });
});

describe("searches", () => {
  test("the word itself comes before words that begin like it, and these before the rest", async () => {
    const folder = join(root, "ranked");
    await cp(join(root, "toy-b"), folder, { recursive: true });
    const said = ["active on 'riverbank'", "active on 'banks'", "active on 'bank'"];
    const lines = said.map((sentence, unit) =>
      JSON.stringify({ unit, sentence, r: 0.9 - unit / 10 }),
    );
    await writeFile(join(folder, "descriptions.jsonl"), `${lines.join("\n")}\n`);
    const { hits } = await json("/censuses/ranked/search.json?q=bank");
    const found = hits.filter((hit: Loose) => hit.found === "description");
    expect(found.map(({ text }: Loose) => text)).toEqual([...said].reverse());
    const { body } = await get("/censuses/ranked/search?q=Bank");
    expect(body).toContain('&#39;river<mark class="hit">bank</mark>&#39;');
    await rm(folder, { recursive: true });
  });

  test("a form's address becomes the canonical one, in one step", async () => {
    const asked = `${a}/units?layer=&type=&described=&set=&q=bank&how=text&in=all&sort=unit`;
    const { status, headers } = await get(asked);
    expect([status, headers.location]).toEqual([302, `${a}/units?q=bank`]);
    const turned = await get(`${a}/units?sort=-r&q=a+b&layer=1&embed=1`);
    expect(turned.headers.location).toBe(`${a}/units?layer=1&q=a+b&sort=-r&embed=1`);
    expect((await get(turned.headers.location!)).status).toBe(200);
    expect((await get(`${a}/compare?m=0.1&with=toy-b&n=0.1`)).headers.location).toBe(
      `${a}/compare?n=0.1&with=toy-b&m=0.1`,
    );
  });

  test("what fits is counted by layer", async () => {
    const { byLayer, nFound } = await json(`${a}/units.json?type=token-detector`);
    expect(Object.keys(byLayer)).toEqual(["0", "1"]);
    expect(byLayer["0"] + byLayer["1"]).toBe(nFound);
    expect((await get(`${a}/units.svg?q=bank`)).body).toContain("Where the units that fit are");
  });
});

describe("sets that reports localized", () => {
  test("a set is its units, by layer and by type, and filters the table", async () => {
    const { sets } = await json(`${a}/sets.json`);
    expect(sets).toHaveLength(1);
    const [{ name, nUnits, units }] = sets;
    expect(name).toBe("experiment/selection");
    expect(units).toHaveLength(nUnits);
    const table = await json(`${a}/units.json?set=experiment%2Fselection`);
    expect(table.units.map(({ unit }: Loose) => unit)).toEqual(units);
    const csv = (await get(`${a}/sets.csv`)).body;
    expect(csv).toMatch(/^set,n_units,n_described,type,n_of_type,expected\r\n/);
    const { status, body } = await get(`${a}/units?set=nothing`);
    expect([status, body.includes("experiment/selection")]).toEqual([400, true]);
  });

  test("a unit has its own numbers, apart from its set's", async () => {
    const [{ units }] = (await json(`${a}/sets.json`)).sets;
    const [layer, index] = units[0].split(".");
    const path = `${a}/units/${layer}/${index}`;
    const [own] = (await json(`${path}.json`)).reports;
    expect(own.localizer).toMatchObject({ selected: true, rank: 1, nUnits: N_UNITS });
    expect(Object.fromEntries(own.localizer.own)).toHaveProperty("d");
    expect(own.doses[0].nUnits).toBeGreaterThanOrEqual(1);
    const { body } = await get(path);
    expect(body).toContain("<h4>Of this unit</h4>");
    expect(body).toMatch(/Of the set that it is silenced with, \d+ unit/);
    expect(body).toContain("The brain row of its set");
    const last = await json(`${a}/units/0/3.json`);
    expect(last.reports[0].localizer.selected).toBe(false);
    expect(last.reports[0].brain).toEqual([]);
  });
});

describe("two models", () => {
  test("units that both have, from the notes on neighbours", async () => {
    const { partners } = await json(`${a}/compare.json?with=toy-b`);
    expect(partners[0]).toEqual({ unit: 0, other: 0, r: 0.99 });
    const { body } = await get(`${a}/compare?with=toy-b`);
    expect(body).toContain("120 of 120 units have a partner");
    expect(body).toContain("Where units of toy have a partner");
    // The other census has no notes on this one.
    expect((await get("/censuses/toy-b/compare?with=toy-a")).body).toContain("is not known here");
  });
});

describe("addresses", () => {
  test("near what is not there is what is", async () => {
    expect((await get(`${a}/units/0/99`)).body).toContain(`href="${a}/units/0/59"`);
    expect((await get(`${a}/units/7/5`)).body).toContain(`href="${a}/units/1/5"`);
    expect((await get(`${a}/unit`)).body).toContain(`href="${a}/units"`);
    expect((await get("/censuses/toyb")).body).toContain('href="/censuses/toy-b"');
  });

  test.each([
    "/censuses/..%2fsecret.txt",
    "/censuses/../secret.txt",
    "/censuses/.hidden",
    "/censuses/nothing",
    "/censuses/experiment",
    `${a}/nothing`,
    `${a}/__proto__`,
    `${a}/constructor.json`,
    `${a}/units/0/60`,
    `${a}/units/0/-1`,
    `${a}/units/0/1e1`,
    `${a}/units/7/1`,
    `${a}/units/0/1/figures/nothing.svg`,
    `${a}/units/0/1/figures/..%2f..%2fmeta.json`,
    `${a}/compare?with=nothing`,
  ])("%s is not there", async (path) => {
    const { status, body } = await get(path);
    expect(status).toBe(404);
    expect(body).not.toContain("secret\n");
  });

  test.each(["n=0.99", "n=x", "n=0.1,0.2,0.3,0.4,0.5", "n=0.1&m=0.99&with=toy-b"])(
    "a comparison of %s is refused",
    async (query) => {
      expect((await get(`${a}/compare?${query}`)).status).toBe(400);
    },
  );

  test("too long an address is refused, and the viewer goes on", async () => {
    expect((await get(`${a}/units?q=${"x".repeat(20_000)}`)).status).toBe(431);
    expect((await get(a)).status).toBe(200);
  });
});

describe("a text that a reader types", () => {
  const path = `${a}/units/0/1`;
  test("gets a value for each token", async () => {
    const { body } = await get(`${path}?text=${encodeURIComponent("<b>x</b> y z")}`);
    expect(body).toMatch(/<mark class="m5">y<sub>2.5<\/sub><\/mark>/);
    expect(body).toContain("&lt;b&gt;x&lt;/b&gt;");
    const { live } = await json(`${path}.json?text=x%20y`);
    expect(live).toMatchObject({ tokens: ["x", " y"], values: [0.001, 2.5], same: true });
  });

  test("says what silencing this unit alone does, beside other single units", async () => {
    const text = encodeURIComponent("lesion of it");
    const { live } = await json(`${path}.json?text=${text}`);
    expect(live.silenced).toMatchObject({ changes: [null, -1, -2], meanChange: -1.5 });
    const { body } = await get(`${path}?text=${text}`);
    expect(body).toContain("by −1.5000 nats on average");
    expect(body).toContain("by 1.0000 either way, and 2 of 4 by as much or more");
    expect((await get(`${path}?text=x%20y`)).body).not.toContain("set to zero");
  });

  test.each([
    ["fail", "toy-model could not read this text: the process ended (SIGKILL)"],
    ["hang", "The model gave no answer within 0.1 s."],
    ["x".repeat(2001), "The text has 2001 characters; at most 2000 are taken."],
    ["other model", "This is another model than the census's"],
  ])("%.10s: a message, and the viewer goes on", async (text, message) => {
    const { status, body } = await get(`${path}?text=${encodeURIComponent(text)}`);
    expect(status).toBe(200);
    expect(body).toContain(message);
    expect((await get(path)).status).toBe(200);
  });

  test("only so many wait", async () => {
    const all = await Promise.all(Array.from({ length: 8 }, () => json(`${path}.json?text=hang`)));
    const turned = all.filter(({ live }) => live.problem.startsWith("Other texts are waiting"));
    expect(turned.length).toBeGreaterThan(0);
  });

  test("without a model there is no field", async () => {
    const plain = await startViewer({ reportsFolder: root, port: 0 });
    const { body } = await get(`${path}?text=x`, plain);
    expect(body).not.toContain("<textarea");
    await plain.close();
  });
});

describe("broken censuses", () => {
  const spoilt: [string, (folder: string) => Promise<unknown>, string][] = [
    ["not JSON", (f) => writeFile(join(f, "meta.json"), "{"), "expected JSON"],
    ["another format", (f) => edit(f, { format: "store" }), "a census of version"],
    ["another version", (f) => edit(f, { version: 99 }), "a census of version"],
    ["hooks that leave units out", (f) => edit(f, { nUnits: 121 }), "as many as the hooks have"],
    ["hooks that are none", (f) => edit(f, { hooks: [null] }), "hooks with name"],
    ["no contexts", (f) => edit(f, { contexts: { top: 1e9 } }), "contexts"],
    ["a window without end", (f) => edit(f, { window: 1e12 }), "window"],
    ["columns of another kind", (f) => edit(f, { columns: ["x"] }), "columns"],
    ["a model without a name", (f) => edit(f, { model: {} }), "a model with name"],
    ["a cut file", (f) => truncate(join(f, "contexts.bin"), 100), "bytes"],
    ["a file that is gone", (f) => rm(join(f, "histogram.u32")), "histogram.u32"],
    [
      "a link out of the folder",
      async (f) => {
        await rm(join(f, "vocabulary.json"));
        await symlink(join(root, "secret.txt"), join(f, "vocabulary.json"));
      },
      "expected a plain file",
    ],
  ];
  const edit = async (folder: string, change: object): Promise<void> => {
    const path = join(folder, "meta.json");
    const meta = JSON.parse(await readFile(path, "utf8"));
    await writeFile(path, JSON.stringify({ ...meta, ...change }));
  };

  test.each(spoilt)("%s: an error page that says so", async (_, spoil, message) => {
    const folder = join(root, "spoilt");
    await cp(join(root, "toy-b"), folder, { recursive: true });
    await spoil(folder);
    const { status, body } = await get("/censuses/spoilt");
    expect(status).toBe(500);
    expect(body).toContain("This census cannot be read");
    expect(body).toContain(message);
    expect((await get("/")).status).toBe(200);
    expect((await get(a)).status).toBe(200);
    await rm(folder, { recursive: true });
  });

  test("broken notes are counted and left out; notes of any form do no harm", async () => {
    const folder = join(root, "spoilt");
    await cp(join(root, "toy-a"), folder, { recursive: true });
    await appendFile(
      join(folder, "descriptions.jsonl"),
      '{"unit":5\n{"unit":1000000}\n{"unit":"x"}\nnull\n',
    );
    const odd = {
      unit: 2,
      sentence: { a: 1 },
      refusal: 7,
      r: "x",
      scores: [1],
      rule: 3,
      output: 4,
    };
    await appendFile(join(folder, "descriptions.jsonl"), `${JSON.stringify(odd)}\n`);
    await writeFile(join(folder, "classes.jsonl"), '{"unit":2,"types":[1,{}],"primary":4}\n');
    await writeFile(join(folder, "weights.jsonl"), '{"unit":2,"top":[[{},"x"],7],"bottom":"x"}\n');
    await writeFile(
      join(folder, "neighbours.jsonl"),
      '{"unit":2,"neighbours":[{"unit":-1},3,{"unit":1e9},{"unit":1,"census":"../x"}]}\n',
    );
    expect((await get("/censuses/spoilt")).body).toContain(
      "descriptions.jsonl: 4 lines are broken and left out.",
    );
    for (const path of [
      "units/0/2",
      "units/0/2.json",
      "units/0/2.csv",
      "units",
      "search?q=a",
      "compare?n=0.2",
    ]) {
      expect([path, (await get(`/censuses/spoilt/${path}`)).status]).toEqual([path, 200]);
    }
    await rm(folder, { recursive: true });
  });

  test("a census whose notes change is read anew", async () => {
    const folder = join(root, "changing");
    await cp(join(root, "toy-b"), folder, { recursive: true });
    expect((await get("/censuses/changing/units/0/1")).body).toContain("active on");
    await writeFile(
      join(folder, "descriptions.jsonl"),
      '{"unit":1,"sentence":"active on Tuesdays","r":0.5}\n',
    );
    expect((await get("/censuses/changing/units/0/1")).body).toContain("active on Tuesdays");
    await rm(folder, { recursive: true });
    expect((await get("/censuses/changing/units/0/1")).status).toBe(404);
  });
});

describe("export", () => {
  test("a folder of files whose links lead to files, and to no other place", async () => {
    const folder = join(root, ".site");
    const { nFiles } = await exportSite(folder, { reportsFolder: root, nUnits: 3 });
    const files = (await readdir(folder, { recursive: true, withFileTypes: true }))
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name));
    expect(files.length).toBe(nFiles);
    const known = new Set(files);
    for (const unit of ["0/0.html", "0/2.html", "0/2.json"]) {
      expect(known).toContain(join(folder, "censuses/toy-a/units", unit));
    }
    expect(known).not.toContain(join(folder, "censuses/toy-a/units/0/3.html"));
    expect(known).toContain(join(folder, "reports/experiment/report.json"));
    let nLinks = 0;
    for (const file of files.filter((name) => name.endsWith(".html"))) {
      const markup = await readFile(file, "utf8");
      expect(markup).not.toMatch(/<form|<script(?! src="[./]*viewer\.js" defer><\/script>)/);
      for (const [, link] of markup.matchAll(/(?:href|src)="([^"#]+)[^"]*"/g)) {
        nLinks++;
        expect(known).toContain(resolve(dirname(file), decodeURIComponent(link!)));
      }
    }
    expect(nLinks).toBeGreaterThan(100);
    await expect(exportSite(folder, { reportsFolder: root })).rejects.toThrow("empty");
    await rm(folder, { recursive: true });
  });

  test("one file of a report asks nothing of any place", async () => {
    const file = join(root, ".one.html");
    await exportPage(file, { reportsFolder: join(root, "experiment") });
    const markup = await readFile(file, "utf8");
    expect(markup).toContain("default-src 'none'; style-src 'unsafe-inline'");
    expect(markup).not.toMatch(/(?:href|src)="[^#]/);
    expect(markup).not.toMatch(/<link|@import|url\(/);
    const data = /<script type="application\/json" id="report">(.*)<\/script>\n<\/body>/s.exec(
      markup,
    )![1]!;
    expect(data).not.toContain("<");
    expect(JSON.parse(data).schema).toBe("penfield.report");
    await rm(file);
  });

  test("what cannot be exported is refused", async () => {
    await expect(
      exportPage(join(root, ".x.html"), { reportsFolder: join(root, "toy-a") }),
    ).rejects.toThrow(ArgumentError);
    await expect(
      exportSite(join(root, ".x"), { reportsFolder: root, nUnits: 5001 }),
    ).rejects.toThrow(ArgumentError);
  });
});
