import { HookPointError } from "@penfield/core";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { axesOf, hookAliases, hookName, nearestNames, PLAIN_AXES } from "./hookPoint.ts";
import { getActName, matchesHook } from "./index.ts";

describe("names", () => {
  test("short names are TransformerLens' own", () => {
    expect(getActName("embed")).toBe("hook_embed");
    expect(getActName("pattern", 3)).toBe("blocks.3.attn.hook_pattern");
    expect(getActName("pre_linear", 0)).toBe("blocks.0.mlp.hook_pre_linear");
    expect(() => getActName("soul", 0)).toThrow(HookPointError);
    expect(() => getActName("soul", 0)).toThrow(/expected one of embed, resid_pre.*, got "soul"/);
    expect(() => getActName("constructor", 0)).toThrow(HookPointError);
  });

  test("every kind has a name in a block; some have one of version 3", () => {
    for (const kind of Object.keys(PLAIN_AXES) as (keyof typeof PLAIN_AXES)[]) {
      expect(hookName(kind, 2)).toBe(`blocks.2.${kind}`);
      for (const alias of hookAliases(kind, 2)) expect(alias).toMatch(/^blocks\.2\./);
      expect(hookAliases(kind, undefined)).toEqual([]);
    }
    expect(hookAliases("hook_resid_post", 5)).toEqual(["blocks.5.hook_out"]);
    expect(axesOf("mlp.experts.3.hook_post")).toEqual(["batch", "routed_token", "d_mlp"]);
  });

  test("in a model with several stacks the stack comes first; an encoder-decoder's names of TransformerLens are aliases", () => {
    expect(hookName("hook_resid_post", 3, "decoder")).toBe("decoder.blocks.3.hook_resid_post");
    expect(hookName("hook_embed", undefined, "text")).toBe("text.hook_embed");
    expect(hookAliases("hook_resid_post", 3, "encoder")).toEqual([
      "encoder.blocks.3.hook_out",
      "encoder.3.hook_resid_post",
    ]);
    expect(getActName("z", 1, "decoder")).toBe("decoder.blocks.1.attn.hook_z");
  });

  test("a misspelt name is answered with those that are like it, the likest first", () => {
    const names = ["blocks.0.hook_resid_post", "blocks.0.hook_resid_pre", "blocks.1.attn.hook_z"];
    expect(nearestNames("blocks.0.hook_resid_pos", names)).toEqual([names[0], names[1]]);
    expect(nearestNames("blocks.1.attn.hook_zz", names)).toEqual([names[2]]);
    expect(nearestNames("something else altogether", names)).toEqual([]);
  });
});

describe("matchesHook", () => {
  test("by hand", () => {
    expect(matchesHook("blocks.*.hook_resid_post", "blocks.11.hook_resid_post")).toBe(true);
    expect(matchesHook("blocks.*.hook_resid_post", "blocks.11.hook_resid_pre")).toBe(false);
    expect(matchesHook("*", "anything at all")).toBe(true);
    expect(matchesHook("*mlp*", "blocks.0.mlp.hook_post")).toBe(true);
    // A dot is a dot.
    expect(matchesHook("blocks.1.hook_out", "blocksX1Xhook_out")).toBe(false);
  });

  test("a name fits itself, whatever is in it, and with any stretch of it starred", () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1 }), fc.nat(), fc.nat(), (name, a, b) => {
        fc.pre(!name.includes("*") && !/[\n\r\u2028\u2029]/.test(name));
        expect(matchesHook(name, name)).toBe(true);
        const [from, to] = [a % name.length, b % name.length].sort((x, y) => x - y) as [
          number,
          number,
        ];
        expect(matchesHook(`${name.slice(0, from)}*${name.slice(to)}`, name)).toBe(true);
        expect(matchesHook(`${name}x`, name)).toBe(false);
      }),
    );
  });
});
