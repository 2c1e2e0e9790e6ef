import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { writeReport } from "@penfield/report";
import { type Browser, type BrowserContextOptions, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { makeTestCensus, N_LAYERS, TEST_SHA256, UNITS_PER_LAYER } from "./censuses/testCensus.ts";
import { exportPage, exportSite, type RunningViewer, startViewer } from "./index.ts";
import { makeBrainReport } from "./testBrainReport.ts";
import { makeComparisonReport, makeTestReport } from "./testReport.ts";

interface Violation {
  readonly id: string;
  readonly impact: string;
  readonly nodes: readonly { readonly html: string }[];
}

// Debian's: apt-get install chromium
const executablePath = "/usr/bin/chromium";

const unitPages = [
  "censuses/toy-a",
  "censuses/toy-a/units?q=bank&sort=-r",
  "censuses/toy-a/units/0/10?text=one%20two%20three",
  "censuses/toy-a/compare?n=0.10&with=toy-b&m=0.11",
  "censuses/toy-a/search?q=bank",
  "censuses/toy-a/sets",
  "censuses/toy-a/compare?with=toy-b",
];

const sectionPages = [
  "reports/comparison/sections/rdms?a=1&b=3",
  "reports/localizer/sections/selection?t=1",
  "reports/brain/sections/scores?column=IFG",
];

describe.skipIf(!existsSync(executablePath))(`in a browser (needs ${executablePath})`, () => {
  let root: string;
  let viewer: RunningViewer;
  let browser: Browser;

  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), "penfield-browser-"));
    await writeReport(join(root, "full"), makeTestReport());
    await writeReport(join(root, "comparison"), makeComparisonReport());
    await writeReport(join(root, "brain"), makeBrainReport());
    await mkdir(join(root, "broken"));
    await writeFile(join(root, "broken/report.json"), "{");
    await writeReport(
      join(root, "localizer"),
      makeTestReport({ nLayers: N_LAYERS, nUnits: UNITS_PER_LAYER }),
    );
    await (await makeTestCensus(join(root, "toy-a"), { neighbour: "toy-b" })).close();
    await (await makeTestCensus(join(root, "toy-b"), { name: "other toy" })).close();
    viewer = await startViewer({
      reportsFolder: root,
      port: 0,
      live: {
        name: "toy",
        activations: ({ text }) => {
          const tokens = text.split(/(?= )/);
          return Promise.resolve({ tokens, values: tokens.map((_, i) => i), sha256: TEST_SHA256 });
        },
      },
    });
    browser = await chromium.launch({
      executablePath,
      args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
    });
  });
  afterAll(async () => {
    await browser?.close();
    await viewer?.close();
    await rm(root, { recursive: true, force: true });
  });

  /** Opens a page, and notes everything that the browser complains of or asks of other places. */
  async function visit<T>(
    path: string,
    options: BrowserContextOptions,
    look: (page: Page) => Promise<T>,
  ): Promise<{ seen: T; complaints: string[] }> {
    const context = await browser.newContext(options);
    const page = await context.newPage();
    const complaints: string[] = [];
    page.on("console", (message) => complaints.push(message.text()));
    page.on("pageerror", (error) => complaints.push(error.message));
    page.on("request", (request) => {
      if (!request.url().startsWith(viewer.url)) complaints.push(request.url());
    });
    await page.goto(viewer.url + path);
    const seen = await look(page);
    await context.close();
    return { seen, complaints };
  }

  const overflow = (page: Page): Promise<number> =>
    page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth");

  test.each<[string, BrowserContextOptions]>([
    ["wide, light", { viewport: { width: 1280, height: 900 }, colorScheme: "light" }],
    ["a phone, dark", { viewport: { width: 380, height: 800 }, colorScheme: "dark" }],
    ["no JavaScript", { viewport: { width: 380, height: 800 }, javaScriptEnabled: false }],
  ])("%s: everything is there, nothing complains, nothing scrolls sideways", async (_, options) => {
    for (const path of ["", "reports/full", "reports/comparison", "reports/brain"]) {
      const { seen, complaints } = await visit(path, options, async (page) => ({
        overflow: options.javaScriptEnabled === false ? 0 : await overflow(page),
        headings: await page.getByRole("heading", { level: 2 }).count(),
        figures: await page.locator("svg.chart").count(),
        tables: await page.getByRole("table").count(),
      }));
      expect(complaints).toEqual([]);
      expect(seen.overflow).toBe(0);
      if (path === "reports/full") expect(seen).toMatchObject({ figures: 11, headings: 9 });
      if (path === "reports/comparison") expect(seen).toMatchObject({ figures: 11, headings: 8 });
      if (path === "reports/brain")
        expect(seen).toMatchObject({ figures: 15, headings: 9, tables: 2 });
      else if (path.startsWith("reports")) expect(seen.tables).toBeGreaterThanOrEqual(6);
    }
  });

  const missing = "censuses/toy-a/units/0/99";
  // One visit for all of it: a page is opened and read by axe a good deal more slowly than it is looked at.
  test.each([
    ...["", "reports/full", "reports/comparison", "reports/brain"],
    ...[...unitPages, ...sectionPages, missing, "censuses/toy-a/units/0/10?embed=1"],
  ])(
    "%s: axe finds nothing serious, no text of a drawing is cut off, and a phone does not scroll sideways, with every part unfolded",
    async (path) => {
      const axe = await readFile(fileURLToPath(import.meta.resolve("axe-core/axe.min.js")), "utf8");
      const { seen } = await visit(
        path,
        { viewport: { width: 1280, height: 900 } },
        async (page) => {
          const cut =
            await page.evaluate(`[...document.querySelectorAll("svg.chart")].flatMap((svg) => {
            const edge = svg.getBoundingClientRect();
            return [...svg.querySelectorAll("text")].filter((text) => {
              const box = text.getBoundingClientRect();
              return box.left < edge.left - 1 || box.right > edge.right + 1 || box.bottom > edge.bottom + 1 || box.top < edge.top - 1;
            }).map((text) => text.textContent);
          })`);
          const { violations } = (await page
            .evaluate(axe)
            .then(() => page.evaluate('axe.run({ resultTypes: ["violations"] })'))) as {
            violations: Violation[];
          };
          await page.setViewportSize({ width: 380, height: 800 });
          await page.evaluate(
            "for (const one of document.querySelectorAll('details')) one.open = true",
          );
          return { cut, violations, overflow: await overflow(page) };
        },
      );
      const serious = seen.violations.filter(({ impact }) =>
        ["serious", "critical"].includes(impact),
      );
      expect(serious.map(({ id, nodes }) => [id, nodes[0]!.html.slice(0, 200)])).toEqual([]);
      expect(seen.cut).toEqual([]);
      expect(seen.overflow).toBe(0);
    },
  );

  test("the keyboard reaches the skip link, the sections, the numbers and the tables", async () => {
    const { seen } = await visit("reports/full", {}, async (page) => {
      const reached: string[] = [];
      for (let i = 0; i < 60; i++) {
        await page.keyboard.press("Tab");
        reached.push(
          await page.evaluate(
            "document.activeElement.className + ' ' + document.activeElement.tagName",
          ),
        );
      }
      return reached;
    });
    expect(seen[0]).toBe("skip A");
    for (const kind of [" SUMMARY", "scroll DIV", " A"]) expect(seen).toContain(kind);
  });

  test("keys: j and k go on and back, / to the search field; nothing is taken while somebody types, or after they were turned off", async () => {
    const { seen, complaints } = await visit("censuses/toy-a/units/0/10", {}, async (page) => {
      const places: string[] = [];
      const press = async (key: string, unit: number): Promise<void> => {
        await page.keyboard.press(key);
        await page.waitForURL(`**/units/0/${unit}`);
        places.push(new URL(page.url()).pathname);
      };
      await press("j", 11);
      await press("j", 12);
      await press("k", 11);
      await page.keyboard.press("/");
      await page.keyboard.type("jk/");
      const typed = await page.getByLabel("Find units by a word").inputValue();
      await page.getByRole("button", { name: "Turn keys off" }).click();
      await page.keyboard.press("j");
      const button = await page.getByRole("button", { name: "Turn keys on" }).isVisible();
      return { places, typed, button, url: new URL(page.url()).pathname };
    });
    expect(seen).toEqual({
      places: [11, 12, 11].map((unit) => `/censuses/toy-a/units/0/${unit}`),
      typed: "jk/",
      button: true,
      url: "/censuses/toy-a/units/0/11",
    });
    expect(complaints).toEqual([]);
  });

  test("arrows lead from cell to cell of a picture, and each says what it is", async () => {
    const { seen } = await visit("reports/brain/sections/scores", {}, async (page) => {
      const grid = page.locator("g[data-columns]").first();
      await grid.locator('rect[tabindex="0"]').focus();
      const said = page.getByRole("status").first();
      const told = [await said.textContent()];
      for (const key of ["ArrowRight", "ArrowUp", "ArrowLeft", "ArrowLeft", "ArrowDown"]) {
        await page.keyboard.press(key);
        told.push(await said.textContent());
      }
      return told.map((text) => text!.split(":")[0]);
    });
    // At an edge nothing moves.
    expect(seen).toEqual([...["0, IFG", "0, MFG", "1, MFG", "1, IFG", "1, IFG", "0, IFG"]]);
  });

  test("what has the focus can be seen", async () => {
    const { seen } = await visit("censuses/toy-a/units", {}, async (page) => {
      const outlines: string[] = [];
      for (let i = 0; i < 12; i++) {
        await page.keyboard.press("Tab");
        outlines.push(await page.evaluate("getComputedStyle(document.activeElement).outlineStyle"));
      }
      return outlines;
    });
    expect(seen.filter((style) => style === "none")).toEqual([]);
  });

  test("a page of another program on this machine holds a unit in a frame; one from elsewhere may not", async () => {
    const outer = createServer((_request, response) => {
      response.setHeader("Content-Type", "text/html");
      response.end(
        ["?embed=1", ""]
          .map((query) => `<iframe src="${viewer.url}censuses/toy-a/units/0/10${query}"></iframe>`)
          .join(""),
      );
    });
    await new Promise<void>((resolve) => outer.listen(0, "127.0.0.1", resolve));
    const { port } = outer.address() as AddressInfo;
    const context = await browser.newContext();
    const page = await context.newPage();
    await page.goto(`http://127.0.0.1:${port}/`);
    const [held, refused] = page.frames().slice(1);
    expect(await held!.getByRole("heading", { level: 1 }).textContent()).toBe("Unit 0.10 of toy");
    expect(await held!.locator("nav, form, header").count()).toBe(0);
    expect(await held!.locator("a[href^='/']").first().getAttribute("target")).toBe("_blank");
    expect(await refused!.getByRole("heading", { level: 1 }).count()).toBe(0);
    await context.close();
    outer.close();
  });

  test("on paper: no navigation, no fields, black on white whatever the screen was", async () => {
    const { seen } = await visit(
      "censuses/toy-a/units/0/10",
      { colorScheme: "dark" },
      async (page) => {
        await page.emulateMedia({ media: "print", colorScheme: "dark" });
        return page.evaluate(`({
          paper: getComputedStyle(document.body).backgroundColor,
          shown: [...document.querySelectorAll("nav, form, footer, .live")].filter((one) => one.checkVisibility()).length,
        })`);
      },
    );
    expect(seen).toEqual({ paper: "rgb(255, 255, 255)", shown: 0 });
  });

  test("numbers unfold without JavaScript", async () => {
    const { seen } = await visit("reports/full", { javaScriptEnabled: false }, async (page) => {
      const numbers = page.locator("#lesion-dose-blimp");
      const before = await numbers.getByRole("table").isVisible();
      await numbers.getByText("Numbers").click();
      return [before, await numbers.getByRole("table").isVisible()];
    });
    expect(seen).toEqual([false, true]);
  });

  test("text stands out from its ground in both colour schemes", async () => {
    for (const [colorScheme, path] of [
      ["light", "reports/full"],
      ["dark", "reports/full"],
      ["light", "reports/comparison"],
      ["dark", "reports/comparison"],
      ["light", "censuses/toy-a/units/0/10"],
      ["dark", "censuses/toy-a/units/0/10"],
      ["dark", "censuses/toy-a/units"],
    ] as const) {
      const { seen } = await visit(path, { colorScheme }, (page) =>
        page.evaluate(`(() => {
          const channels = (colour) => colour.match(/[\\d.]+/g).slice(0, 3).map(Number);
          const light = (colour) => {
            const [r, g, b] = channels(colour).map((c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
          };
          const paper = light(getComputedStyle(document.body).backgroundColor);
          const against = (colour) => {
            const [low, high] = [light(colour), paper].sort((a, b) => a - b);
            return (high + 0.05) / (low + 0.05);
          };
          const texts = [...document.querySelectorAll("p, th, td, small, a, h1, h2, h3, h4, dt, dd, summary, .outcome")].map((node) => [node.tagName, against(getComputedStyle(node).color)]);
          const drawn = [...document.querySelectorAll("svg text:not([class*='on-'])")].map((node) => [node.getAttribute("class"), against(getComputedStyle(node).fill)]);
          return [...texts, ...drawn].filter(([, ratio]) => ratio < 4.5).map(([name, ratio]) => name + " " + ratio.toFixed(2));
        })()`),
      );
      expect([...new Set(seen as string[])]).toEqual([]);
    }
  });

  test("axe finds nothing serious on a unit in the dark", async () => {
    const axe = await readFile(fileURLToPath(import.meta.resolve("axe-core/axe.min.js")), "utf8");
    const { seen } = await visit(unitPages[2]!, { colorScheme: "dark" }, (page) => {
      return page.evaluate(`(() => { ${axe}; return axe.run(document); })()`);
    });
    const { violations } = seen as { violations: Violation[] };
    const serious = violations.filter(({ impact }) => ["serious", "critical"].includes(impact));
    expect(serious.map(({ id, nodes }) => `${id} ${nodes[0]!.html}`)).toEqual([]);
  });

  // The three paths are walked without JavaScript: by links, fields and buttons alone.
  const plain: BrowserContextOptions = { javaScriptEnabled: false };

  test("who looks for a word finds the unit, its evidence, and tries a text", async () => {
    const { seen, complaints } = await visit("", plain, async (page) => {
      await page.getByRole("link", { name: "Units of toy", exact: true }).click();
      await page.getByLabel("Find units by a word").fill("river");
      await page.getByRole("button", { name: "Search" }).click();
      const table = page.getByRole("table", { name: "Units by their descriptions" });
      await table.getByRole("link").first().click();
      const heading = await page.getByRole("heading", { level: 1 }).textContent();
      const description = await page.locator("#description").textContent();
      const marked = await page.locator("mark").first().textContent();
      await page.getByLabel("The model reads it").fill("a second third");
      await page.getByRole("button", { name: "Run the model" }).click();
      return { heading, description, marked, strip: await page.locator(".strip").textContent() };
    });
    expect(seen.heading).toBe("Unit 0.2 of toy");
    expect(seen.description).toBe("active on ' river'");
    expect(seen.marked).toMatch(/^river\d/);
    expect(seen.strip).toBe("a second1 third2");
    expect(complaints).toEqual([]);
  });

  test("a localized unit leads to what silencing its set does, and to the brain", async () => {
    const { seen, complaints } = await visit("reports/localizer", plain, async (page) => {
      await page.locator("#section-units table").getByRole("link").first().click();
      const localized = await page.getByText("Localized", { exact: true }).isVisible();
      const brain = await page.getByRole("table", { name: /^Brain in/ }).isVisible();
      const ablation = page.getByRole("table", { name: /^Ablation in/ });
      await ablation.getByRole("link").first().click();
      return { localized, brain, hash: new URL(page.url()).hash };
    });
    expect(seen).toEqual({ localized: true, brain: true, hash: "#section-lesion" });
    expect(complaints).toEqual([]);
  });

  test("two models stand side by side, and so do two units that are alike", async () => {
    const { seen, complaints } = await visit("censuses/toy-a", plain, async (page) => {
      await page.getByRole("link", { name: "Compare" }).click();
      await page.getByLabel("beside").selectOption("toy-b");
      await page.getByRole("button", { name: "Compare" }).click();
      const models = await page.getByRole("table", { name: "The models" }).textContent();
      const alike = page.getByRole("table", { name: "Units that are most alike" });
      await alike.getByRole("link", { name: "side by side" }).first().click();
      const pair = new URL(page.url()).search;
      await page.goto(`${viewer.url}censuses/toy-a/units/0/1`);
      await page.getByRole("link", { name: "Compare" }).click();
      const columns = await page
        .getByRole("table", { name: "Units side by side" })
        .getByRole("columnheader")
        .allTextContents();
      return { models, pair, columns };
    });
    expect(seen.models).toContain("other toy");
    expect(seen.pair).toBe("?n=0.0&with=toy-b&m=0.0");
    expect(seen.columns).toEqual(["Of the unit", "toy 0.1", "other toy 0.1"]);
    expect(complaints).toEqual([]);
  });

  test("exported files open from disk, are led through by links, and ask nothing of a network", async () => {
    const [site, one] = [join(root, ".site"), join(root, ".one.html")];
    await exportSite(site, { reportsFolder: join(root, "toy-a"), nUnits: 2 });
    await exportPage(one, { reportsFolder: join(root, "full") });
    const context = await browser.newContext({ offline: true });
    const page = await context.newPage();
    const complaints: string[] = [];
    page.on("console", (message) => complaints.push(message.text()));
    page.on("request", (request) => {
      if (!request.url().startsWith("file:///")) complaints.push(request.url());
    });
    await page.goto(pathToFileURL(join(site, "index.html")).href);
    await page.getByRole("link", { name: "Units of toy" }).click();
    await page.getByRole("link", { name: "All units" }).click();
    await page.getByRole("link", { name: "0.1", exact: true }).click();
    expect(await page.locator("#description").textContent()).toBe("active on ' bank'");
    const paper = (): Promise<string> =>
      page.evaluate("getComputedStyle(document.querySelector('.chart')).fontFamily");
    expect(await paper()).toContain("DejaVu Sans");
    const requests: string[] = [];
    page.on("request", (request) => requests.push(request.url()));
    await page.goto(pathToFileURL(one).href);
    expect(await paper()).toContain("DejaVu Sans");
    expect(requests).toEqual([pathToFileURL(one).href]);
    expect(complaints).toEqual([]);
    await context.close();
  });

  test("an error page is a page", async () => {
    const { seen } = await visit("reports/broken", {}, async (page) =>
      page.getByRole("heading", { level: 1 }).textContent(),
    );
    expect(seen).toBe("This report cannot be read");
  });
});
