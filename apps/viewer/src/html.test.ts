import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { fixed, interval, pText, short, signed, whole } from "./format.ts";
import { html } from "./html.ts";

describe("html", () => {
  test("text is escaped, fragments are not, absent values are nothing", () => {
    const name = `<b title="x">'&`;
    expect(
      html`<p>${name}${html`<i>${1}</i>`}${null}${undefined}${false}${["a", "<"]}</p>`.markup,
    ).toBe("<p>&lt;b title=&quot;x&quot;&gt;&#39;&amp;<i>1</i>a&lt;</p>");
  });

  test("an object that looks like a fragment is not one", () => {
    const forged = { markup: "<script>" } as unknown as string;
    expect(html`${forged}`.markup).not.toContain("<script>");
  });

  test("unseen characters are shown by number", () => {
    expect(html`${"a\u202eb\u0000\n"}`.markup).toBe("a[U+202E]b[U+0000]\n");
  });

  test("no text can open a tag or end an attribute", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        expect(html`${text}`.markup).not.toMatch(/[<>"']/);
      }),
    );
  });
});

test("numbers as papers print them", () => {
  expect(fixed(-0.12345)).toBe("−0.123");
  expect(fixed(-0.0001)).toBe("0.000");
  expect(fixed(null)).toBe("–");
  expect(fixed(-2.5e9)).toBe("−2.50e+9");
  expect(signed(0.5)).toBe("+0.500");
  expect(signed(0.0001)).toBe("0.000");
  expect(short(0.25)).toBe("0.25");
  expect(short(-10)).toBe("−10");
  expect(whole(134515008)).toBe("134\u202f515\u202f008");
  expect(whole(999)).toBe("999");
  expect(pText(0.0004)).toBe("p < 0.001");
  expect(pText(0.0476)).toBe("p = 0.048");
  expect(interval({ value: 1, interval: [0.5, 1.5] })).toBe("[0.500, 1.500]");
  expect(interval({ value: 1, interval: null })).toBe("");
});
