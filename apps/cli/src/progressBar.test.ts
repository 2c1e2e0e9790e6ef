import { describe, expect, test } from "vitest";
import { createProgressBar, formatSeconds } from "./progressBar.ts";

describe("formatSeconds", () => {
  test.each([
    [0, "0 s"],
    [-3, "0 s"],
    [59.4, "59 s"],
    [60, "1 min 00 s"],
    [200, "3 min 20 s"],
    [3599, "59 min 59 s"],
    [3600, "1 h 00 min"],
    [3900, "1 h 05 min"],
  ])("%d", (seconds, text) => {
    expect(formatSeconds(seconds)).toBe(text);
  });
});

/** A stream that remembers, and a clock that is set by hand. */
function scene(more: { isTTY?: boolean; columns?: number } = {}) {
  const written: string[] = [];
  const clock = { seconds: 0 };
  const stream = { write: (text: string) => written.push(text), ...more };
  return { written, clock, bar: createProgressBar(stream, () => clock.seconds) };
}
const at = (done: number, total = 10, stage = "silencing units", unit = "lesions") => ({
  stage,
  done,
  total,
  unit,
});

describe("on a terminal", () => {
  test("one line, redrawn in place, with the time that is left; cleared at the end", () => {
    const { written, clock, bar } = scene({ isTTY: true, columns: 200 });
    bar.onProgress(at(0));
    clock.seconds = 10;
    bar.onProgress(at(2));
    expect(written).toHaveLength(2);
    expect(written[1]).toContain("silencing units: 20 % (2 of 10 lesions, about 40 s left)");
    expect(written.every((text) => text.startsWith("\r\u001b[2K"))).toBe(true);
    expect(written.join("")).not.toContain("\n");
    bar.onProgress(at(10));
    expect(written[2]).toContain("100 % (10 of 10 lesions)");
    bar.finish();
    expect(written[3]).toBe("\r\u001b[2K");
    bar.finish();
    expect(written).toHaveLength(4);
  });

  test("never wider than the terminal; the time of a stage starts with it", () => {
    const { written, clock, bar } = scene({ isTTY: true, columns: 40 });
    clock.seconds = 1000;
    bar.onProgress(at(5));
    expect(written[0]!.slice(5).length).toBeLessThanOrEqual(39);
    const wide = scene({ isTTY: true, columns: 200 });
    wide.clock.seconds = 100;
    wide.bar.onProgress(at(0, 10, "a"));
    wide.clock.seconds = 200;
    wide.bar.onProgress(at(0, 10, "b"));
    wide.clock.seconds = 201;
    wide.bar.onProgress(at(5, 10, "b"));
    expect(wide.written[2]).toContain("about 1 s left");
  });

  test("bytes are shown in megabytes; nothing to do is no division by zero", () => {
    const { written, bar } = scene({ isTTY: true, columns: 200 });
    bar.onProgress(at(5e6, 20e6, "downloading", "bytes"));
    expect(written[0]).toContain("25 % (5 of 20 MB");
    bar.onProgress(at(0, 0, "nothing"));
    expect(written[1]).toContain("nothing: 0 % (0 of 0 lesions)");
  });
});

describe("without a terminal", () => {
  test("a line when a stage begins, every 15 seconds, and when it is done", () => {
    const { written, clock, bar } = scene();
    for (let done = 0; done <= 10; done++) {
      bar.onProgress(at(done));
      clock.seconds += 4;
    }
    expect(written.map((line) => line.match(/(\d+) of/)![1])).toEqual(["0", "4", "8", "10"]);
    expect(written.every((line) => line.endsWith("\n"))).toBe(true);
    bar.finish();
    expect(written).toHaveLength(4);
  });
});
