import { FormatError } from "@penfield/core";
import { strToU8, zipSync } from "fflate";
import { describe, expect, test } from "vitest";
import { readZip } from "./zip.ts";

const zip = zipSync({ "b.txt": strToU8("two"), "a.txt": strToU8("one"), "c.bin": strToU8("x") });

describe("readZip", () => {
  test("gives the matching files in order of name", () => {
    expect(readZip(zip, { file: "x.zip", match: /\.txt$/ })).toEqual([
      { name: "a.txt", text: "one" },
      { name: "b.txt", text: "two" },
    ]);
  });

  test("refuses an archive that would unfold to too much, before it does", () => {
    const bomb = zipSync({ "a.txt": new Uint8Array(2 ** 22) }, { level: 9 });
    expect(bomb.length).toBeLessThan(8000);
    const read = () => readZip(bomb, { file: "bomb.zip", match: /./, limitBytes: 2 ** 20 });
    expect(read).toThrow(FormatError);
    expect(read).toThrow(
      "readZip: bomb.zip: expected at most 1048576 bytes when unfolded, got more",
    );
  });

  test("adds the files up", () => {
    const two = zipSync({ "a.txt": new Uint8Array(600), "b.txt": new Uint8Array(600) });
    expect(() => readZip(two, { file: "two.zip", match: /./, limitBytes: 1000 })).toThrow(
      "got more",
    );
    expect(readZip(two, { file: "two.zip", match: /a/, limitBytes: 1000 })).toHaveLength(1);
  });

  test("never gives more than an entry declares", () => {
    const forged = zipSync({ "a.txt": strToU8("y".repeat(5000)) });
    const view = new DataView(forged.buffer);
    // The central directory's record of the entry: its uncompressed size is at offset 24.
    const at = forged.findLastIndex(
      (_, i) => i < forged.length - 4 && view.getUint32(i, true) === 0x02014b50,
    );
    view.setUint32(at + 24, 10, true);
    try {
      const [entry] = readZip(forged, { file: "forged.zip", match: /./ });
      expect(entry!.text.length).toBeLessThanOrEqual(10);
    } catch (error) {
      expect(error).toBeInstanceOf(FormatError);
    }
  });

  test.each([new Uint8Array(0), strToU8("not a zip"), zip.slice(0, 40)])(
    "refuses damaged bytes (%#)",
    (bytes) => {
      expect(() => readZip(bytes, { file: "x.zip", match: /./ })).toThrow(FormatError);
    },
  );
});
