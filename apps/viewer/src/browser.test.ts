import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { writeReport } from "@penfield/report";
import { type Browser, type BrowserContextOptions, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type RunningViewer, startViewer } from "./index.ts";
import { makeBrainReport } from "./testBrainReport.ts";
import { makeComparisonReport, makeTestReport } from "./testReport.ts";

interface Violation {
  readonly id: string;
  readonly impact: string;
  readonly nodes: readonly { readonly html: string }[];
}

// Debian's: apt-get install chromium
const executablePath = "/usr/bin/chromium";

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
    viewer = await startViewer({ reportsFolder: root, port: 0 });
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
        figures: await page.getByRole("img").count(),
        tables: await page.getByRole("table").count(),
      }));
      expect(complaints).toEqual([]);
      expect(seen.overflow).toBe(0);
      if (path === "reports/full") expect(seen).toMatchObject({ figures: 11, headings: 9 });
      if (path === "reports/comparison") expect(seen).toMatchObject({ figures: 11, headings: 8 });
      if (path === "reports/brain")
        expect(seen).toMatchObject({ figures: 13, headings: 8, tables: 2 });
      else if (path) expect(seen.tables).toBeGreaterThanOrEqual(6);
    }
  });

  test.each(["", "reports/full", "reports/comparison", "reports/brain"])(
    "%s: axe finds nothing serious",
    async (path) => {
      const axe = await readFile(fileURLToPath(import.meta.resolve("axe-core/axe.min.js")), "utf8");
      const { seen } = await visit(path, { viewport: { width: 1280, height: 900 } }, (page) =>
        page
          .evaluate(axe)
          .then(() => page.evaluate("axe.run()") as Promise<{ violations: Violation[] }>),
      );
      const serious = seen.violations.filter(
        ({ impact }) => impact === "serious" || impact === "critical",
      );
      expect(serious.map(({ id, nodes }) => [id, nodes[0]!.html.slice(0, 200)])).toEqual([]);
    },
  );

  test.each(["reports/full", "reports/comparison", "reports/brain"])(
    "%s: with every part unfolded, a phone still does not scroll sideways",
    async (path) => {
      const { seen } = await visit(
        path,
        { viewport: { width: 380, height: 800 } },
        async (page) => {
          await page.evaluate(
            "for (const one of document.querySelectorAll('details')) one.open = true",
          );
          return overflow(page);
        },
      );
      expect(seen).toBe(0);
    },
  );

  test.each(["reports/full", "reports/comparison", "reports/brain"])(
    "%s: no text of a drawing is cut off at its edge",
    async (path) => {
      const { seen } = await visit(path, { viewport: { width: 1280, height: 900 } }, (page) =>
        page.evaluate(`[...document.querySelectorAll("svg.chart")].flatMap((svg) => {
        const edge = svg.getBoundingClientRect();
        return [...svg.querySelectorAll("text")].filter((text) => {
          const box = text.getBoundingClientRect();
          return box.left < edge.left - 1 || box.right > edge.right + 1 || box.bottom > edge.bottom + 1 || box.top < edge.top - 1;
        }).map((text) => text.textContent);
      })`),
      );
      expect(seen).toEqual([]);
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

  test("an error page is a page", async () => {
    const { seen } = await visit("reports/broken", {}, async (page) =>
      page.getByRole("heading", { level: 1 }).textContent(),
    );
    expect(seen).toBe("This report cannot be read");
  });
});
