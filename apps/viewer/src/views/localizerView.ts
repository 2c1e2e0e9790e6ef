import type { SelectionSection } from "@penfield/report";
import type { Exhibit } from "../figures/exhibit.ts";
import { spreadFigure, takenFigure, volcanoFigure } from "../figures/localizer.ts";
import { fixed, probability, short, whole } from "../format.ts";
import { type Html, html, type Part } from "../html.ts";
import type { Chosen, LocalizerArrays } from "../reports/localizer.ts";
import { dataTable, figure } from "./parts.ts";
import type { UnitLinks } from "./sections.ts";

/** The sentence on a unit of a hook point; undefined or empty if there is none. */
export type UnitWords = (hook: string, unit: number) => string | undefined;

export const localizerExhibits = (
  section: SelectionSection,
  arrays: LocalizerArrays,
  chosen: Chosen,
): readonly Exhibit[] => [
  spreadFigure(section, arrays, chosen),
  volcanoFigure(section, arrays, chosen),
  takenFigure(section, chosen),
];

/** Units in the table. */
const N_LISTED = 100;

/** A localizer with a threshold of the reader's own: which units it would take. */
export function localizerPart(
  section: SelectionSection,
  arrays: LocalizerArrays,
  chosen: Chosen,
  {
    address,
    asked,
    links,
    words,
  }: {
    readonly address: string;
    /** The query of the page. */
    readonly asked: string;
    readonly links: UnitLinks;
    readonly words: UnitWords;
  },
): Html {
  const { threshold, units, nSelected } = chosen;
  const { nUnits, nLayers, hook, selected } = section;
  const { t, q, mask } = arrays;
  const shown = units.slice(0, N_LISTED);
  const said = shown.map((at) =>
    words(hook.replace("*", String(Math.floor(at / nUnits))), at % nUnits),
  );
  const hasWords = said.some((text) => text);
  const conditions = [
    ...(threshold.t === undefined
      ? []
      : [`${section.statistic.name} of at least ${short(threshold.t)}`]),
    ...(threshold.q === undefined ? [] : [`q of at most ${short(threshold.q)}`]),
  ];
  return html`<h3>Units by a threshold</h3>
<form class="filters" action="${address}" method="get"><label>${section.statistic.name} of at least <input name="t" value="${threshold.t}" inputmode="decimal" maxlength="40" size="8" autocomplete="off"></label><label>q of at most <input name="q" value="${threshold.q}" inputmode="decimal" maxlength="40" size="8" autocomplete="off"></label><button>Show</button></form>
<p role="status">${
    conditions.length === 0
      ? html`Shown: the ${whole(units.length)} units that the report selected.`
      : html`${conditions.join(" and ")}: <strong>${whole(units.length)}</strong> of ${whole(nLayers * nUnits)} units (${fixed((100 * units.length) / (nLayers * nUnits), 2)} %); ${whole(nSelected)} of the ${whole(selected.nSelected)} that the report selected are among them. <a href="${address}">The report's own selection</a>`
  }</p>${conditions.length > 0 && html`<p class="notice">A threshold chosen after seeing the values makes no new finding: lesions, held-out checks and scores of this report are of its own selection.</p>`}
<div class="figures">${localizerExhibits(section, arrays, chosen).map((exhibit) => figure(exhibit, address, asked))}</div>
${
  shown.length > 0 &&
  html`<h3>The units</h3>${dataTable(
    "Units taken",
    [
      { title: "Rank", numeric: true },
      { title: "Layer", numeric: true },
      { title: "Unit", numeric: true },
      { title: section.statistic.name.replaceAll(" ", "\u00a0"), numeric: true },
      { title: "q", numeric: true },
      { title: "Selected by the report" },
      ...(hasWords ? [{ title: "Description", wide: true }] : []),
    ],
    shown.map((at, i): Part[] => {
      const [layer, unit] = [Math.floor(at / nUnits), at % nUnits];
      const link = links(layer, unit);
      return [
        i + 1,
        layer,
        link === undefined ? unit : html`<a href="${link}">${unit}</a>`,
        fixed(t[at]!, 2),
        probability(Number.isFinite(q[at]!) ? q[at]! : null),
        mask[at] === 1 ? "yes" : "no",
        ...(hasWords ? [said[i] || "–"] : []),
      ];
    }),
  )}${units.length > N_LISTED && html`<p>The first ${N_LISTED} of ${whole(units.length)}; the .csv has ${units.length > 100_000 ? "100 000" : "all"}.</p>`}`
}`;
}
