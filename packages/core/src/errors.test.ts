import { describe, expect, test } from "vitest";
import * as core from "./index.ts";

const classes: Record<
  string,
  [new (message: string, options?: object) => core.PenfieldError, string]
> = {
  ShapeError: [core.ShapeError, "ERR_SHAPE"],
  ArgumentError: [core.ArgumentError, "ERR_ARGUMENT"],
  FormatError: [core.FormatError, "ERR_FORMAT"],
  ModelError: [core.ModelError, "ERR_MODEL"],
  HookPointError: [core.HookPointError, "ERR_HOOK_POINT"],
  TokenizerError: [core.TokenizerError, "ERR_TOKENIZER"],
  DataError: [core.DataError, "ERR_DATA"],
  FileError: [core.FileError, "ERR_FILE"],
  DownloadError: [core.DownloadError, "ERR_DOWNLOAD"],
  InterruptedError: [core.InterruptedError, "ERR_INTERRUPTED"],
  UsageError: [core.UsageError, "ERR_USAGE"],
};

describe("errors", () => {
  test.each(Object.entries(classes))("%s has its name and code", (name, [Class, code]) => {
    const cause = new Error("below");
    const error = new Class("f: expected x, got y", { hint: "Do z.", cause });
    expect(error).toBeInstanceOf(core.PenfieldError);
    expect(error).toBeInstanceOf(Error);
    expect(error).toMatchObject({
      name,
      code,
      message: "f: expected x, got y",
      hint: "Do z.",
      cause,
    });
    expect(error.stack).toContain("f: expected x, got y");
  });

  test("every exported error class is in the list above, and no two share a code", () => {
    const exported = Object.entries(core).filter(
      ([name, value]) =>
        name.endsWith("Error") && /^class/.test(String(value)) && name !== "PenfieldError",
    );
    expect(exported.map(([name]) => name).sort()).toEqual(Object.keys(classes).sort());
    expect(new Set(Object.values(classes).map(([, code]) => code)).size).toBe(exported.length);
  });

  test("have no hint and no cause of their own", () => {
    const error = new core.DataError("bare");
    expect(error.hint).toBeUndefined();
    expect("cause" in error).toBe(false);
  });

  test("throwIfAborted throws only after the signal has fired", () => {
    const controller = new AbortController();
    core.throwIfAborted(undefined, "reading");
    core.throwIfAborted(controller.signal, "reading");
    controller.abort();
    const call = () => core.throwIfAborted(controller.signal, "reading");
    expect(call).toThrow(core.InterruptedError);
    expect(call).toThrow("reading: interrupted");
  });
});
