import type { RdmsSection } from "@penfield/report";
import type { Exhibit } from "../figures/exhibit.ts";
import type { RdmPair } from "../figures/rdmPair.ts";
import { type Html, html, type Part } from "../html.ts";
import { figure } from "./parts.ts";

/** RDMs that can be chosen from a list. */
const MAX_LISTED = 500;

/** Two RDMs of a section beside each other, and the form by which they are chosen. */
export function rdmPairPart(
  { rdms }: RdmsSection,
  pair: RdmPair | undefined,
  exhibits: readonly Exhibit[],
  address: string,
): Part {
  if (rdms.length < 2) return "";
  const choice = (name: string, title: string, chosen: number): Html =>
    html`<label>${title} <select name="${name}">${rdms.slice(0, MAX_LISTED).map(({ title: own, role }, i) => html`<option value="${i + 1}"${i === chosen && html` selected`}>${own} (${role})</option>`)}</select></label>`;
  return html`<h3>Two of them</h3><form class="filters" action="${address}" method="get">${choice("a", "First", pair?.a ?? 0)}${choice("b", "Second", pair?.b ?? 1)}<button>Set them beside each other</button></form>${
    pair &&
    (exhibits.length === 0
      ? html`<p>No pair of conditions has a dissimilarity in both.</p>`
      : html`<div class="figures">${exhibits.map((exhibit) => figure(exhibit, address, `a=${pair.a + 1}&b=${pair.b + 1}`))}</div>`)
  }`;
}
