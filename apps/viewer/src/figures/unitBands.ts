import { type Html, html } from "../html.ts";
import { label, rule } from "./exhibit.ts";

/** Parts of the units, one below the other. */
export interface UnitBands {
  /** Where each part begins and ends, from above. */
  readonly bands: readonly {
    readonly firstUnit: number;
    readonly nUnits: number;
    readonly top: number;
    readonly bottom: number;
  }[];
  readonly bottom: number;
  /** Titles of the parts, or lines between them where there are too many for titles. */
  readonly marks: Html;
}

/** So many parts have room for a title of their own. */
const MOST_TITLES = 6;
const TITLE = 15;

/** Rows for units in the order of their groups, the first at the top. */
export function unitBands(
  groups: readonly { readonly title: string; readonly nUnits: number }[],
  {
    top,
    height,
    left,
    right,
  }: {
    readonly top: number;
    readonly height: number;
    readonly left: number;
    readonly right: number;
  },
): UnitBands {
  const total = groups.reduce((sum, { nUnits }) => sum + nUnits, 0);
  const titled = groups.length > 1 && groups.length <= MOST_TITLES;
  let y = top;
  let firstUnit = 0;
  const marks: Html[] = [];
  const bands = groups.map(({ title, nUnits }, g) => {
    if (titled) {
      y += TITLE;
      marks.push(html`${label(left, y - 4, `${title} (${nUnits})`)}`);
    } else if (g > 0) marks.push(html`${rule(left, y, right, y, "grid")}`);
    const band = { firstUnit, nUnits, top: y, bottom: y + (height * nUnits) / total };
    y = band.bottom;
    firstUnit += nUnits;
    return band;
  });
  return { bands, bottom: y, marks: html`${marks}` };
}

/** Parts that a caption names. */
const MOST_NAMED = 12;

/** What a caption says of the parts; "" where their titles are drawn, or there is one. */
export function bandsCaption(
  groups: readonly { readonly title: string; readonly nUnits: number }[],
): string {
  if (groups.length <= MOST_TITLES) return "";
  const named = groups.slice(0, MOST_NAMED).map(({ title, nUnits }) => `${title} (${nUnits})`);
  const more = groups.length - named.length;
  return `, from above: ${named.join(", ")}${more > 0 ? ` and ${more} more groups` : ""}`;
}
