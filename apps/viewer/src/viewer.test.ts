import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { request as httpRequest, type IncomingHttpHeaders } from "node:http";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FileError, UsageError } from "@penfield/core";
import { readTable, writeReport, writeTable } from "@penfield/report";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type RunningViewer, startViewer } from "./index.ts";
import { makeBrainReport } from "./testBrainReport.ts";
import { makeComparisonReport, makeTestReport } from "./testReport.ts";

let root: string;
let viewer: RunningViewer;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "penfield-viewer-"));
  await writeReport(join(root, "full"), makeTestReport());
  await writeReport(join(root, "odd name & ü"), makeTestReport({ nLayers: 2, nUnits: 20 }));
  await writeReport(join(root, "comparison"), makeComparisonReport());
  await writeReport(join(root, "brain"), makeBrainReport());
  await writeReport(join(root, "torn"), makeTestReport({ nLayers: 2, nUnits: 20 }));
  await writeFile(join(root, "torn/arrays/selection.t.npy"), "not an array");
  await writeFile(join(root, "torn/tables/units.parquet"), "PAR1, not a table, PAR1");
  await mkdir(join(root, "broken"));
  await writeFile(join(root, "broken/report.json"), '{"schema":"penfield.report","version":"<b>"}');
  await mkdir(join(root, ".half.1.ab.partial"));
  await writeFile(join(root, "secret.txt"), "secret");
  await writeFile(join(root, "full/unnamed.txt"), "secret");
  viewer = await startViewer({ reportsFolder: root, port: 0 });
});
afterAll(async () => {
  await viewer?.close();
  await rm(root, { recursive: true, force: true });
});

/** A request as it is written, without the tidying of addresses that fetch does. */
function raw(
  path: string,
  { headers = {}, method = "GET" }: { headers?: Record<string, string>; method?: string } = {},
): Promise<{ status: number; headers: IncomingHttpHeaders; body: string; bytes: Buffer }> {
  const { port } = new URL(viewer.url);
  return new Promise((resolve, reject) => {
    const request = httpRequest({ host: "127.0.0.1", port, path, method, headers }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("end", () =>
        resolve({
          status: response.statusCode!,
          headers: response.headers,
          body: Buffer.concat(chunks).toString("utf8"),
          bytes: Buffer.concat(chunks),
        }),
      );
    });
    request.on("error", reject);
    request.end();
  });
}

/** Every page has the viewer's one script, and no other. */
const withoutOwnScript = (body: string): string =>
  body.replace('<script src="/viewer.js" defer></script>', "");

describe("pages", () => {
  test("the list names every report, and the broken ones with their errors", async () => {
    const { status, headers, body } = await raw("/");
    expect(status).toBe(200);
    expect(headers["content-type"]).toBe("text/html; charset=utf-8");
    expect(body).toContain('href="/reports/full"');
    expect(body).toContain('href="/reports/odd%20name%20%26%20%C3%BC"');
    expect(body).toContain("version: expected 1, got &quot;&lt;b&gt;&quot;");
    expect(body).not.toContain("partial");
  });

  test("a report shows its verdicts before its sections, and its sources at the end", async () => {
    const { status, body } = await raw("/reports/full");
    expect(status).toBe(200);
    const order = [
      "What was expected, and what was seen",
      "not seen",
      "Before you believe a number",
      'id="section-selection"',
      'id="section-lesion"',
      'id="section-dissociation"',
      "Simulated recording.",
      'id="section-units"',
      'id="section-notes"',
      'id="provenance"',
      "0123456789abcdef0123456789abcdef",
      "CC-BY-4.0",
    ].map((text) => body.indexOf(text));
    expect(order).not.toContain(-1);
    expect([...order].sort((a, b) => a - b)).toEqual(order);
  });

  test("a page is small, has no script but the viewer's own, and asks nothing of other places", async () => {
    const { body } = await raw("/reports/full");
    expect(body.length).toBeLessThan(300_000);
    expect(withoutOwnScript(body)).not.toMatch(/<script|javascript:|\son\w+=|style="/i);
    const addresses = [...body.matchAll(/(?:href|src)="([^"]*)"/g)].map(([, address]) => address!);
    expect(addresses.every((address) => /^[/#]/.test(address))).toBe(true);
  });

  test("ids are used once, and every link within the page leads somewhere", async () => {
    const { body } = await raw("/reports/full");
    const ids = [...body.matchAll(/\sid="([^"]*)"/g)].map(([, id]) => id!);
    expect(new Set(ids).size).toBe(ids.length);
    for (const [, target] of body.matchAll(/(?:href="#|aria-labelledby=")([^"]+)"/g)) {
      for (const id of target!.split(" ")) expect(ids).toContain(id);
    }
  });

  test("a comparison shows models and files, pictures, maps and every number as a table", async () => {
    const { status, body } = await raw("/reports/comparison");
    expect(status).toBe(200);
    expect(body.length).toBeLessThan(300_000);
    expect(withoutOwnScript(body)).not.toMatch(/<script|javascript:|\son\w+=|style="/i);
    for (const text of [
      "How well each model predicts",
      "noise ceiling",
      "subject 1 (data)",
      "Map of the conditions",
      "Linear CKA, stimuli shuffled",
      "The triangle inequality fails in 0 of 12 cases.",
      "Files of numbers",
      "24 × 100",
    ]) {
      expect(body, text).toContain(text);
    }
    const ids = [...body.matchAll(/\sid="([^"]*)"/g)].map(([, id]) => id!);
    expect(new Set(ids).size).toBe(ids.length);
    const files = [...body.matchAll(/href="([^"]*figures[^"]*)"/g)].map(([, address]) => address!);
    expect(files.length).toBeGreaterThan(20);
    for (const file of files) {
      const { status: found, body: text } = await raw(file);
      expect([file, found]).toEqual([file, 200]);
      if (file.endsWith(".svg")) expect(text).toMatch(/^<svg .*<title .*<desc /);
      else expect(text.split("\r\n").length).toBeGreaterThan(2);
    }
    const { bytes } = await raw("/reports/comparison/files/arrays/layers.npy");
    expect(bytes.subarray(1, 6).toString()).toBe("NUMPY");
  });

  test("a recording's scores, identification, time courses, spikes and maps, each also as .csv and .svg", async () => {
    const { status, body } = await raw("/reports/brain");
    expect(status).toBe(200);
    expect(body.length).toBeLessThan(300_000);
    expect(body).toContain("Simulated recording.");
    expect(body).toContain("position and length, untrained weights");
    expect(body).toContain("a real brain is none of the candidates");
    for (const id of [
      ...["scores-scores", "scores-normalized", "scores-best", "scores-subjects"],
      ...["identification-rates", "identification-confusion-ridge", "identification-stimuli"],
      ...["time-0", "time-1", "raster-0", "raster-1", "map-0"],
    ]) {
      expect(body).toContain(`id="${id}"`);
      expect((await raw(`/reports/brain/figures/${id}.csv`)).status).toBe(200);
      expect((await raw(`/reports/brain/figures/${id}.svg`)).status).toBe(200);
    }
    const { bytes } = await raw("/reports/brain/files/maps/r.nii.gz");
    expect([...bytes]).toEqual([31, 139]);
  });

  test("a comparison whose array is damaged shows the rest", async () => {
    const path = join(root, "comparison/arrays/layers.npy");
    const whole = await readFile(path);
    await writeFile(path, "not an array");
    const { status, body } = await raw("/reports/comparison");
    await writeFile(path, whole);
    expect(status).toBe(200);
    expect(body).toContain("The matrix cannot be drawn: ");
    expect(body).toContain("subject 1 (data)");
  });

  test("a report whose array is damaged shows the rest", async () => {
    const { status, body } = await raw("/reports/torn");
    expect(status).toBe(200);
    expect(body).toContain("The map of single units cannot be drawn");
    expect(body).toContain("What the model loses without them");
  });

  test("a report that is cut off anywhere is an error page or a page, never a fault", async () => {
    const whole = await readFile(join(root, "full/report.json"), "utf8");
    const folder = join(root, "<b>cut");
    await mkdir(folder);
    const path = `/reports/${encodeURIComponent("<b>cut")}`;
    for (const share of [0, 0.01, 0.3, 0.7, 0.999]) {
      await writeFile(join(folder, "report.json"), whole.slice(0, whole.length * share));
      for (const form of ["", ".json", ".csv", ".svg", "/sections/selection"]) {
        const { status, body } = await raw(path + form);
        expect([share, form, status]).toEqual([share, form, 500]);
        expect(body).toContain("This report cannot be read");
        expect(body).not.toContain("<b>");
      }
    }
    // Without its arrays it says what is missing.
    await writeFile(join(folder, "report.json"), whole);
    const { status, body } = await raw(path);
    expect(status).toBe(500);
    expect(body).toContain("cut/arrays: there is no such file");
    await rm(folder, { recursive: true });
  });

  test("a broken report is an error page, and the viewer goes on", async () => {
    const { status, body } = await raw("/reports/broken");
    expect(status).toBe(500);
    expect(body).toContain("This report cannot be read");
    expect(body).toContain("version: expected 1");
    expect((await raw("/reports/full")).status).toBe(200);
  });

  test("a folder that is itself a report is shown", async () => {
    const single = await startViewer({ reportsFolder: join(root, "full"), port: 0 });
    const list = await (await fetch(single.url)).text();
    expect(list).toContain('href="/reports/full"');
    expect((await fetch(`${single.url}reports/full`)).status).toBe(200);
    await single.close();
  });
});

describe("files", () => {
  test("report.json is the file itself", async () => {
    const { headers, body } = await raw("/reports/full/report.json");
    expect(headers["content-type"]).toBe("application/json; charset=utf-8");
    expect(body).toBe(await readFile(join(root, "full/report.json"), "utf8"));
  });

  test("files that the report names are sent as they are", async () => {
    const { status, headers, bytes } = await raw("/reports/full/files/tables/units.parquet");
    expect(status).toBe(200);
    expect(headers["content-disposition"]).toBe("attachment; filename=units.parquet");
    expect(new Uint8Array(bytes)).toEqual(
      new Uint8Array(await readFile(join(root, "full/tables/units.parquet"))),
    );
    expect((await raw("/reports/full/files/arrays/selection.t.npy")).status).toBe(200);
    const page = (await raw("/reports/full")).body;
    expect(page).toContain('href="/reports/full/files/tables/units.parquet">tables/units.parquet<');
    expect(page).toContain('href="/reports/full/tables/units.csv"');
  });

  test("tables are offered as .csv, made from the Parquet file", async () => {
    const table = await readTable(await readFile(join(root, "full/tables/units.parquet")));
    expect(table.rows.length).toBeGreaterThan(10);
    for (const path of ["/reports/full/units.csv", "/reports/full/tables/units.csv"]) {
      const { status, headers, body } = await raw(path);
      expect([path, status]).toEqual([path, 200]);
      expect(headers["content-type"]).toBe("text/csv; charset=utf-8");
      expect(headers["content-disposition"]).toMatch(/^attachment; filename="?units\.csv"?$/);
      const [head, ...lines] = body.trimEnd().split("\r\n");
      expect(head).toBe(table.columns.join(","));
      expect(lines.map((line) => line.split(",").map(Number))).toEqual(table.rows);
    }
  });

  test("formulas in a table's text stay text, in the .csv only", async () => {
    const folder = join(root, "formulas");
    await writeReport(folder, makeTestReport({ nLayers: 2, nUnits: 20 }));
    const table = { columns: ["=x", "t"], rows: [['=HYPERLINK("http://x")', -1]] };
    await writeFile(join(folder, "tables/units.parquet"), writeTable(table));
    const { body } = await raw("/reports/formulas/units.csv");
    expect(body).toBe('\'=x,t\r\n"\'=HYPERLINK(""http://x"")",-1\r\n');
    expect(await readTable(await readFile(join(folder, "tables/units.parquet")))).toEqual(table);
    await rm(folder, { recursive: true });
  });

  test("a table that is damaged is an error page, and the viewer goes on", async () => {
    const { status, headers, body } = await raw("/reports/torn/units.csv");
    expect(status).toBe(500);
    expect(headers["content-type"]).toBe("text/html; charset=utf-8");
    expect(headers["content-disposition"]).toBeUndefined();
    expect(body).toContain("expected a Parquet file as writeTable writes it");
    expect((await raw("/reports/torn")).status).toBe(200);
  });

  test("every link to a figure's file works, and its numbers are a table", async () => {
    const { body } = await raw("/reports/full");
    const links = [...body.matchAll(/href="(\/reports\/full\/figures\/[^"]+)"/g)].map(
      ([, to]) => to!,
    );
    expect(links.length).toBeGreaterThan(20);
    for (const link of links) {
      const { status, headers, body: content } = await raw(link);
      expect([link, status]).toEqual([link, 200]);
      if (link.endsWith(".csv")) {
        expect(headers["content-type"]).toBe("text/csv; charset=utf-8");
        expect(content.split("\r\n").length).toBeGreaterThan(2);
      } else {
        expect(headers["content-type"]).toBe("image/svg+xml; charset=utf-8");
        expect(content).toMatch(/^<svg xmlns="http:\/\/www.w3.org\/2000\/svg".*<title .*<style>/s);
        expect(content).not.toContain("/* ---- pages");
      }
    }
  });

  test.each([
    "/reports/full/files/unnamed.txt",
    "/reports/full/files/tables/units.csv",
    "/reports/full/tables/units.parquet",
    "/reports/full/tables/other.csv",
    "/reports/full/tables/..%2f..%2fsecret.csv",
    "/reports/full/files/report.json",
    "/reports/full/files/../../secret.txt",
    "/reports/full/files/..%2f..%2fsecret.txt",
    "/reports/full/files/arrays/..%2f..%2f..%2fsecret.txt",
    "/reports/full/files/%2fetc%2fpasswd",
    "/reports/..",
    "/reports/..%2f",
    "/reports/%2e%2e%2ffull",
    "/reports/.half.1.ab.partial",
    "/reports/secret.txt",
    "/reports/nothing",
    "/reports/full/figures/nothing.csv",
    "/reports/full/figures/lesion-effects.svg",
    "/reports/full/figures/..%2f..%2fsecret.csv",
    "/reports/%00",
    "/reports/full/sections/nothing",
    "/reports/full/sections/..%2f..%2fsecret.csv",
    "/reports/full/sections/selection/figures/..%2f..%2freport.json",
    "/reports/full/sections/__proto__.json",
    "/viewer.js/../../package.json",
    "/nothing",
    "/viewer.css/../../package.json",
  ])("%s is not found", async (path) => {
    const { status, body } = await raw(path);
    expect(status).toBe(404);
    expect(body).toContain("Not found");
    expect(body).not.toContain("secret\n");
  });

  test("queries without end, twice, or of another form do no harm", async () => {
    for (const [query, status] of [
      [`q=${"x".repeat(5000)}`, 200],
      ["q=a&q=b", 302],
      ["q[a]=1&q[b]=2", 302],
      [Array.from({ length: 900 }, (_, i) => `a${i}=1`).join("&"), 302],
      ["__proto__[x]=1&constructor=2", 302],
      ["q=%00%E2%80%AE", 200],
    ] as const) {
      const { status: got, body } = await raw(`/?${query}`);
      expect([query.slice(0, 30), got]).toEqual([query.slice(0, 30), status]);
      for (const hidden of ["\u0000", "\u202e"]) expect(body.includes(hidden)).toBe(false);
    }
    expect((await raw(`/?q=${"x".repeat(20_000)}`)).status).toBe(431);
  });

  test("an address that cannot be decoded is a clear error", async () => {
    const { status, body } = await raw("/reports/%E0%A4%A");
    expect(status).toBe(400);
    expect(body).toContain("The address cannot be understood.");
  });
});

describe("safety", () => {
  test("every answer carries the headers that keep a page to itself", async () => {
    for (const path of ["/", "/reports/full", "/viewer.css", "/nothing", "/reports/broken"]) {
      const { headers } = await raw(path);
      expect(headers["content-security-policy"]).toContain("default-src 'none'");
      expect(headers["content-security-policy"]).not.toContain("unsafe");
      expect(headers["x-content-type-options"]).toBe("nosniff");
      expect(headers["referrer-policy"]).toBe("no-referrer");
      expect(headers["x-powered-by"]).toBeUndefined();
    }
  });

  test("only requests to this machine by name are answered", async () => {
    const { port } = new URL(viewer.url);
    for (const host of [`127.0.0.1:${port}`, `localhost:${port}`, `LOCALHOST:${port}`]) {
      expect((await raw("/", { headers: { host } })).status).toBe(200);
    }
    for (const host of ["evil.example", `evil.example:${port}`, "127.0.0.1", "127.0.0.1:1"]) {
      const { status, body } = await raw("/", { headers: { host } });
      expect([host, status]).toEqual([host, 403]);
      expect(body).not.toContain("/reports/full");
    }
  });

  test("a page is not sent again while it stays the same", async () => {
    const { headers } = await raw("/reports/full");
    expect(headers["cache-control"]).toBe("no-cache");
    const again = await raw("/reports/full", { headers: { "if-none-match": headers.etag! } });
    expect([again.status, again.body]).toEqual([304, ""]);
    expect((await raw("/reports/brain")).headers.etag).not.toBe(headers.etag);
  });

  test("it only reads", async () => {
    for (const method of ["POST", "PUT", "DELETE"]) {
      const { status, headers } = await raw("/", { method });
      expect([status, headers.allow]).toEqual([405, "GET, HEAD"]);
    }
    expect((await raw("/", { method: "HEAD" })).status).toBe(200);
  });
});

describe("one thing in its forms", () => {
  test.each(["/reports/full", "/reports/full/sections/selection", "/reports/full/sections/lesion"])(
    "%s as .json, .csv and .svg",
    async (path) => {
      const { body } = await raw(path);
      for (const form of ["json", "csv", "svg"]) expect(body).toContain(`href="${path}.${form}"`);
      expect(JSON.parse((await raw(`${path}.json`)).body)).toBeTypeOf("object");
      expect((await raw(`${path}.csv`)).body.split("\r\n").length).toBeGreaterThan(3);
      const drawn = await raw(`${path}.svg`);
      expect(drawn.headers["content-type"]).toBe("image/svg+xml; charset=utf-8");
      expect(drawn.body).toMatch(/^<svg [^>]*><style>.*<svg .*<\/svg><\/g><\/svg>$/s);
      expect(drawn.headers["content-security-policy"]).toContain("default-src 'none'");
    },
  );

  test.each(["full", "comparison", "brain"])(
    "every link of every section of %s leads somewhere",
    async (name) => {
      const { sections } = JSON.parse((await raw(`/reports/${name}.json`)).body);
      const links = new Set<string>();
      for (const { id } of sections) {
        const { status, body } = await raw(`/reports/${name}/sections/${id}`);
        expect([id, status]).toEqual([id, 200]);
        expect(body.length).toBeLessThan(300_000);
        for (const [, link] of body.matchAll(/href="(\/[^"#]*)/g)) {
          if (!link!.includes("/files/")) links.add(link!.replaceAll("&amp;", "&"));
        }
      }
      for (const link of links) expect([link, (await raw(link)).status]).toEqual([link, 200]);
    },
  );

  test("the list, all of it or what has a word", async () => {
    const all = JSON.parse((await raw("/index.json")).body);
    expect(all.reports.map(({ name }: { name: string }) => name)).toContain("full");
    expect(all.reports.find(({ name }: { name: string }) => name === "broken").error).toContain(
      "version",
    );
    const some = JSON.parse((await raw("/index.json?q=COMPARISON")).body);
    expect(some.reports.map(({ name }: { name: string }) => name)).toEqual(["comparison"]);
    expect((await raw("/index.csv")).body).toMatch(/^what,name,address,/);
    expect((await raw("/?q=zebra")).body).toContain("Nothing here has “zebra”");
    expect((await raw("/?q=%3Cscript%3E")).body).toContain("“&lt;script&gt;”");
  });

  test("every number of a report's .csv is one of its figures' numbers", async () => {
    const long = (await raw("/reports/full.csv")).body.split("\r\n");
    const own = (await raw("/reports/full/figures/selection-held-out.csv")).body.split("\r\n");
    const [, value] = own[1]!.split(",");
    expect(long).toContain(`selection-held-out,1,value,${value}`);
  });
});

describe("a localizer with a threshold of one's own", () => {
  const path = "/reports/full/sections/selection";
  const data = async (query: string) => JSON.parse((await raw(`${path}.json${query}`)).body);

  test("without one, the report's selection", async () => {
    const { nFound, units, section } = await data("");
    expect(nFound).toBe(section.selected.nSelected);
    expect(units.every(({ selected }: { selected: number }) => selected === 1)).toBe(true);
    expect((await raw(path)).body).toContain("that the report selected");
  });

  test("with one, the units at or above it, from the highest", async () => {
    const { units, byLayer, nFound } = await data("?t=2&q=0.5");
    expect(nFound).toBe(byLayer.reduce((sum: number, n: number) => sum + n, 0));
    const t = units.map((unit: { t: number }) => unit.t);
    expect(t).toEqual([...t].sort((a, b) => b - a));
    expect(Math.min(...t)).toBeGreaterThanOrEqual(2);
    expect(units.every(({ q }: { q: number }) => q <= 0.5)).toBe(true);
    const { body } = await raw(`${path}?t=2&q=0.5`);
    expect(body).toContain("makes no new finding");
    expect(body).toContain('name="t" value="2"');
    expect((await raw(`${path}/figures/selection-volcano.csv?t=2`)).body).toMatch(/^t_from,/);
  });

  test.each(["t=x", "q=2", "t=1e99", "q=-1", `t=${"1".repeat(500)}`])(
    "?%s is refused",
    async (query) => {
      expect((await raw(`${path}?${query}`)).status).toBe(400);
    },
  );

  test("other ways to ask lead to one address", async () => {
    const { status, headers } = await raw(`${path}?q=&t=2.0`);
    expect([status, headers.location]).toEqual([302, `${path}?t=2`]);
    expect((await raw(`${path}?other=1`)).headers.location).toBe(path);
  });

  test("its arrays damaged: the rest of the page", async () => {
    const { status, body } = await raw("/reports/torn/sections/selection?t=2");
    expect(status).toBe(200);
    expect(body).toContain("The map of single units cannot be drawn");
  });
});

describe("one region of a score map", () => {
  test("all layers, beside floors, ceiling and subjects", async () => {
    const { status, body } = await raw("/reports/brain/sections/scores?column=IFG");
    expect(status).toBe(200);
    expect(body).toContain("IFG: median Pearson r of each layer");
    const csv = (await raw("/reports/brain/sections/scores.csv?column=IFG")).body;
    expect(csv).toMatch(/^layer,score,share_of_ceiling,p,ceiling,/);
    expect((await raw("/reports/brain/sections/scores?column=Nowhere")).status).toBe(400);
  });
});

describe("two RDMs", () => {
  const path = "/reports/comparison/sections/rdms";

  test("are set beside each other: each pair of conditions, both correlations, ranks", async () => {
    const { body } = await raw(`${path}?a=1&b=3`);
    expect(body).toContain("subject 1 against category");
    expect(body).toContain("Where their ranks part");
    const { agreement } = JSON.parse((await raw(`${path}.json?a=1&b=3`)).body);
    const [, ...lines] = (await raw(`${path}.csv?a=1&b=3`)).body.trimEnd().split("\r\n");
    // One dissimilarity of the first is not defined.
    expect(lines).toHaveLength(agreement.nPairs);
    const [x, y] = [2, 3].map((column) => lines.map((line) => Number(line.split(",").at(column))));
    const mean = (values: number[]) => values.reduce((a, b) => a + b, 0) / values.length;
    const product = (u: number[], v: number[]) =>
      u.reduce((sum, value, i) => sum + (value - mean(u)) * (v[i]! - mean(v)), 0);
    const pearson = (u: number[], v: number[]) =>
      product(u, v) / Math.sqrt(product(u, u) * product(v, v));
    const ranks = (values: number[]) =>
      values.map(
        (own) =>
          values.filter((other) => other < own).length +
          (values.filter((other) => other === own).length + 1) / 2,
      );
    expect(agreement.pearson).toBeCloseTo(pearson(x!, y!), 10);
    expect(agreement.spearman).toBeCloseTo(pearson(ranks(x!), ranks(y!)), 10);
    const same = JSON.parse((await raw(`${path}.json?a=2&b=2`)).body).agreement;
    expect(same.pearson).toBeCloseTo(1, 12);
    expect(same.spearman).toBeCloseTo(1, 12);
  });

  test.each(["a=1&b=4", "a=0&b=1", "a=1", "a=x&b=1"])("?%s is refused", async (query) => {
    expect((await raw(`${path}?${query}`)).status).toBe(400);
  });
});

describe("what is not there", () => {
  test.each([
    ["/reports/ful", 'href="/reports/full"'],
    ["/reports/full/sections/leson", 'href="/reports/full/sections/lesion"'],
    ["/reports/FULL.json", 'href="/reports/full"'],
  ])("%s: what was perhaps meant", async (path, link) => {
    const { status, body } = await raw(path);
    expect(status).toBe(404);
    expect(body).toContain(link);
  });
});

describe("others can reach it, with a token", () => {
  let open: RunningViewer;
  beforeAll(async () => {
    open = await startViewer({ reportsFolder: root, port: 0, host: "0.0.0.0" });
  });
  afterAll(() => open.close());
  const ask = (path: string, headers: Record<string, string> = {}) => {
    const { port } = new URL(open.url);
    return fetch(`http://127.0.0.1:${port}${path}`, { headers, redirect: "manual" });
  };
  const token = () => new URL(open.url).searchParams.get("token")!;

  test("nobody gets anything without it", async () => {
    expect(token()).toMatch(/^[\w-]{24}$/);
    const cookie = `penfield-${new URL(open.url).port}`;
    for (const [path, headers] of [
      ["/", {}],
      ["/viewer.css", {}],
      ["/reports/full/report.json", {}],
      ["/?token=wrong", {}],
      [`/?token=${token().slice(0, -1)}`, {}],
      [`/?token[]=${token()}`, {}],
      ["/", { cookie: `${cookie}=wrong` }],
      ["/", { cookie: `other=${token()}` }],
    ] as const) {
      const response = await ask(path, headers);
      expect([path, response.status]).toEqual([path, 401]);
      const body = await response.text();
      expect(body).toContain("asks for a token");
      expect(body).not.toContain(token());
    }
  });

  test("its address gives a cookie, and is not passed on", async () => {
    const first = await ask(`/reports/full?token=${token()}&x=1`);
    expect([first.status, first.headers.get("location")]).toEqual([303, "/reports/full?x=1"]);
    const cookie = first.headers.get("set-cookie")!;
    expect(cookie).toContain("HttpOnly; SameSite=Lax; Path=/");
    const page = await ask("/reports/full", { cookie: `a=b; ${cookie.split(";")[0]}` });
    expect(page.status).toBe(200);
    expect(await page.text()).not.toContain(token());
    const away = await ask(`//evil.example/?token=${token()}`);
    expect(away.headers.get("location")).toBe("/");
  });
});

describe("startViewer", () => {
  const occupy = (port: number): Promise<Server> =>
    new Promise((resolve, reject) => {
      const server = createServer();
      server.once("error", reject);
      server.listen(port, "127.0.0.1", () => resolve(server));
    });
  const portOf = (server: Server) => (server.address() as { port: number }).port;

  test("a port that is taken is an error that says what to do", async () => {
    const other = await occupy(0);
    const starting = startViewer({ reportsFolder: root, port: portOf(other) });
    await expect(starting).rejects.toThrow(UsageError);
    await expect(starting).rejects.toThrow(`got ${portOf(other)}, which is in use`);
    await expect(starting).rejects.toMatchObject({ hint: expect.stringContaining("--port") });
    other.close();
  });

  test("without a port, the next free one is taken", async () => {
    const first = await startViewer({ reportsFolder: root });
    const second = await startViewer({ reportsFolder: root });
    expect(Number(new URL(second.url).port)).toBeGreaterThan(Number(new URL(first.url).port));
    expect((await fetch(second.url)).status).toBe(200);
    await Promise.all([first.close(), second.close()]);
    await expect(fetch(first.url)).rejects.toThrow();
  });

  test("addresses of other machines, other ports, weak tokens and missing folders are refused", async () => {
    await expect(startViewer({ reportsFolder: root, host: "192.0.2.1" })).rejects.toThrow(
      UsageError,
    );
    await expect(startViewer({ reportsFolder: root, token: "short" })).rejects.toThrow(UsageError);
    await expect(startViewer({ reportsFolder: root, port: 99999 })).rejects.toThrow(UsageError);
    await expect(startViewer({ reportsFolder: join(root, "no") })).rejects.toThrow(FileError);
  });

  test("a folder without reports says how to get one", async () => {
    const empty = join(root, "empty");
    await mkdir(empty);
    const { url, close } = await startViewer({ reportsFolder: empty, port: 0 });
    expect(await (await fetch(url)).text()).toContain("penfield run language-network");
    await rm(empty, { recursive: true });
    const gone = await fetch(url);
    expect([gone.status, await gone.text()]).toEqual([
      500,
      expect.stringContaining("no such file"),
    ]);
    await close();
  });
});
