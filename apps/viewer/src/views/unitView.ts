import { ArgumentError } from "@penfield/core";
import type { Table } from "@penfield/report";
import { type LiveResult, MAX_TEXT, type ShownLesion } from "../censuses/live.ts";
import { type OpenCensus, unitAddress, unitName } from "../censuses/openCensuses.ts";
import type { UnitInReport } from "../censuses/reportLinks.ts";
import type { ShownContext, ShownDescription, UnitRecord } from "../censuses/unitRecord.ts";
import { fieldsOf, listOf, numberOf, textOf } from "../censuses/untrusted.ts";
import type { Exhibit } from "../figures/exhibit.ts";
import { histogramFigure, positionFigure } from "../figures/units.ts";
import { ABSENT, fixed, probability, short, signed, whole } from "../format.ts";
import { type Html, html, type Part } from "../html.ts";
import { searchForm } from "./censusView.ts";
import { dataTable, figure, page } from "./parts.ts";
import { contextList, contextText, type Scale, tokenCode } from "./tokens.ts";

/** Contexts on the page; the .json has all. */
const N_TOP = 12;
const N_PER_BIN = 3;
const N_OTHER = 4;

export const unitFigures = (record: UnitRecord): readonly Exhibit[] => [
  histogramFigure(record),
  positionFigure(record),
];

/** Whether the darkest mark is the unit's largest value, or the largest of each stretch of text. */
export type Shading = "unit" | "context";

/** @throws {ArgumentError} for what is neither. */
export function readShading(text: string | undefined): Shading {
  if (!text || text === "unit") return "unit";
  if (text === "context") return text;
  throw new ArgumentError(
    `shade is one of unit, context, not ${JSON.stringify(text.slice(0, 40))}.`,
  );
}

/** Everything about one unit; `live` is given where a model stands by for texts. */
export function unitPage(
  open: OpenCensus,
  record: UnitRecord,
  {
    shading = "unit",
    live,
  }: {
    readonly shading?: Shading;
    readonly live?: { readonly result: LiveResult | undefined } | undefined;
  } = {},
): string {
  const { meta, base } = open;
  const { unit, name, hook, types, description } = record;
  const address = unitAddress(open, unit);
  const scale = { ...scaleOf(record), each: shading === "context" };
  const beside = record.neighbours.find(({ census }) => census !== record.census);
  return page({
    title: `Unit ${name} of ${meta.model.name}`,
    above: [{ title: `Units of ${meta.model.name}`, address: base }],
    search: searchForm(open),
    main: html`<h1>Unit ${name} of <a href="${base}">${meta.model.name}</a></h1>
<p class="about"><code>${hook}</code>, unit ${record.index}${types.length > 0 && html` · ${types.join(", ")}`} · active on ${share(record.statistics.frequency)} of the tokens</p>
<nav aria-label="Units"><ul>${unit > 0 && html`<li><a href="${unitAddress(open, unit - 1)}" rel="prev">← ${unitName(open, unit - 1)}</a></li>`}${unit + 1 < meta.nUnits && html`<li><a href="${unitAddress(open, unit + 1)}" rel="next">${unitName(open, unit + 1)} →</a></li>`}<li><a href="#contexts">Contexts</a></li><li><a href="#output">Output</a></li><li><a href="#reports">Ablation and brain</a></li><li><a href="${base}/compare?n=${name}${beside && `&with=${encodeURIComponent(beside.census)}&m=${beside.name}`}">Compare</a></li><li><a href="${address}.json">.json</a></li><li><a href="${address}.csv">.csv</a></li><li><a href="${address}.svg">.svg</a></li></ul></nav>
${descriptionCard(description)}
${live && liveSection(address, live.result, record)}
<section aria-labelledby="contexts"><h2 id="contexts">Where it is active</h2>
${record.nActive === 0 ? html`<p class="notice">Never active on ${whole(meta.nTokens)} tokens: a dead unit, as far as this corpus goes.</p>` : contexts(record, meta.nBins, scale, address)}</section>
${facets(record, scale)}
${counterexamples(record, scale)}
<section aria-labelledby="values"><h2 id="values">Values, positions, tokens</h2><div class="figures">${unitFigures(record).map((exhibit) => figure(exhibit, address))}</div>${evidence(record)}${ngrams(record)}</section>
${output(record)}
${neighbours(record)}
${reports(record)}
${statistics(record)}`,
  });
}

const share = (value: number): string =>
  value > 0 && value < 0.0001 ? "less than 0.01 %" : `${fixed(100 * value, 2)} %`;

export function scaleOf({ statistics, threshold }: UnitRecord): Scale {
  const { max, frequency } = statistics;
  const middle = statistics["q0.75"];
  return frequency > 0.5 && middle > threshold
    ? { threshold, max, from: middle }
    : { threshold, max };
}

/** What is said of the unit, and how well it holds: never one without the other. */
function descriptionCard(description: ShownDescription | null): Html {
  if (!description) {
    return html`<section class="card" aria-labelledby="description"><h2 id="description">Description</h2><p>Nobody has described this unit.</p></section>`;
  }
  const { sentence, refusal, source, r, interval, scores, output: written } = description;
  const rule = description.rule === null ? undefined : JSON.stringify(description.rule);
  return html`<section class="card" aria-labelledby="description"><h2 id="description">${refusal === null ? sentence : "No reliable description"}</h2>
<p class="about">by ${source}${refusal === null ? html` · held-out r ${fixed(r, 2)}${interval && ` [${fixed(interval[0], 2)}, ${fixed(interval[1], 2)}]`}` : html` · refused: ${refusal}`}</p>
${written?.sentence && html`<p>Writes: ${written.sentence}.${written.score && ` ${outputScore(written.score)}`}</p>`}
${
  scores.some(({ value }) => value !== null) &&
  html`${refusal !== null && html`<p class="notice">The scores below are those of the best rule that was found. They do not carry it.</p>`}${dataTable(
    "Scores of the description",
    [
      { title: "Score" },
      { title: "Value", numeric: true },
      { title: "Floor", numeric: true },
      { title: "What it is held against" },
    ],
    scores
      .filter(({ value }) => value !== null)
      .map(({ name, value, floor, what }) => [
        name,
        name === "specificity rank" ? whole(value!) : fixed(value, 3),
        fixed(floor, 3),
        what,
      ]),
  )}`
}
${rule && html`<details><summary>The rule</summary><p><code>${rule.length > 2000 ? `${rule.slice(0, 2000)}…` : rule}</code></p></details>`}</section>`;
}

function outputScore({
  measure,
  value,
  randomUnits,
  p,
  otherTokens,
  otherTokensP,
  holds,
}: NonNullable<NonNullable<ShownDescription["output"]>["score"]>): string {
  const what = measure === "entropy" ? "the entropy of the next token" : "those tokens";
  const others =
    otherTokens === null
      ? ""
      : `, the tokens that other units name by ${signed(otherTokens, 3)} (p ${fixed(otherTokensP, 3)})`;
  return `Setting the unit moves ${what} by ${signed(value, 3)} nats; setting random units does by ${signed(randomUnits, 3)} (p ${fixed(p, 3)})${others}: ${holds ? "this holds" : "this does not hold"}.`;
}

function liveSection(address: string, result: LiveResult | undefined, record: UnitRecord): Html {
  return html`<section class="live" aria-labelledby="live"><h2 id="live">Type a text</h2>
<form action="${address}#live" method="get"><label for="text">The model reads it; each token gets this unit's value.</label><br><textarea id="text" name="text" rows="2" maxlength="${MAX_TEXT}">${result?.text}</textarea><br><button>Run the model</button></form>
${result && liveResult(result, record)}</section>`;
}

function liveResult(result: LiveResult, { statistics, threshold }: UnitRecord): Html {
  if ("problem" in result) {
    return html`<p class="message" role="status">${result.problem}${result.hint && ` ${result.hint}`}</p>`;
  }
  const { tokens, values, same, silenced } = result;
  const largest = values.reduce((best, value, i) => (value > values[best]! ? i : best), 0);
  const max = Math.max(statistics.max, values[largest] ?? 0);
  return html`${!same && html`<p class="notice">This is another model than the census's: the values are its own, the rest of the page is not.</p>`}<p class="strip" role="status">${contextText({ tokens, values, peak: largest }, { threshold, max })}</p>
${silenced && lesionText(silenced)}<details open><summary>Numbers</summary>${dataTable(
    "Value of each token",
    [
      { title: "Token" },
      { title: "Value", numeric: true },
      { title: "Active" },
      ...(silenced
        ? [
            { title: html`log p <small>nats</small>`, numeric: true },
            { title: html`Without the unit <small>change</small>`, numeric: true },
          ]
        : []),
    ],
    tokens.map((token, i): Part[] => [
      tokenCode(token),
      fixed(values[i] ?? null),
      values[i]! > threshold ? "yes" : "no",
      ...(silenced
        ? [fixed(silenced.logProbs[i] ?? null, 2), signed(silenced.changes[i] ?? null, 4)]
        : []),
    ]),
  )}</details>`;
}

/** What this unit alone does to the text, beside what other single units do. */
function lesionText({ meanChange, others }: ShownLesion): Html {
  const size = Math.abs(meanChange ?? 0);
  const nLarger = others.filter((other) => Math.abs(other) >= size).length;
  const mean = others.reduce((sum, other) => sum + Math.abs(other), 0) / others.length;
  return html`<p><strong>This unit alone set to zero</strong> changes the log probability of a token of this text by ${signed(meanChange, 4)} nats on average${
    others.length === 0
      ? ""
      : `; single random units of its hook point change it by ${fixed(mean, 4)} either way, and ${nLarger} of ${others.length} by as much or more`
  }. One text is one text: it says what happens here, and nothing in general.</p>`;
}

function contexts(
  { contexts: all, threshold }: UnitRecord,
  nBins: number,
  scale: Scale,
  address: string,
): Html {
  const bins = Array.from({ length: nBins }, (_, i) => nBins - 1 - i).map((bin) => ({
    bin,
    found: all.sampled.filter((context) => context.bin === bin),
  }));
  return html`<p class="reading">Marked: tokens with a value above ${scale.from === undefined ? short(threshold) : html`${short(scale.from, 2)}, its third quartile, as it is active nearly everywhere`}, the darker the higher ${
    scale.each
      ? html`within each stretch (<a href="${address}#contexts">by the unit's largest value</a>)`
      : html`(<a href="${address}?shade=context#contexts">within each stretch</a>)`
  }; numbers are values. Line ends are ↵, tabs →, other white space ␣; hidden characters stand as their numbers.</p>
<h3>Highest values</h3>${contextList(all.top.slice(0, N_TOP), scale, "top")}
${
  all.sampled.length > 0 &&
  html`<h3>Over the whole range of its active values</h3><p class="reading">A sample of the tokens on which it is active, cut into ${nBins} equally large bins: what holds only at the top is not what the unit does.</p>${bins.map(
    ({ bin, found }) =>
      found.length > 0 &&
      html`<details${bin === nBins - 1 ? "" : html` open`}><summary>Bin ${bin + 1} of ${nBins}, values ${range(found)}</summary>${contextList(found.slice(0, N_PER_BIN), scale, `bin-${bin + 1}`)}</details>`,
  )}`
}
${all.nearMiss.length > 0 && html`<h3>Near misses</h3><p class="reading">Tokens like those that make it active, on which it is not.</p>${contextList(all.nearMiss.slice(0, N_OTHER), scale, "near-miss")}`}
${all.random.length > 0 && html`<h3>Random places</h3>${contextList(all.random.slice(0, N_OTHER), scale, "random")}`}`;
}

function range(found: readonly ShownContext[]): string {
  const values = found.map(({ value }) => value ?? 0);
  return `${fixed(Math.min(...values), 2)} to ${fixed(Math.max(...values), 2)}`;
}

function counterexamples(
  { counterexamples: { falsePositives, falseNegatives }, description }: UnitRecord,
  scale: Scale,
): Part {
  if (falsePositives.length + falseNegatives.length === 0) return "";
  return html`<section aria-labelledby="counterexamples"><h2 id="counterexamples">Where the description is wrong</h2>
<p class="reading">${description?.refusal === null ? "" : "Of the best rule that was found. "}Places in documents that it was not made from.</p>
<div class="columns"><div><h3>It holds, and the unit is silent</h3>${falsePositives.length === 0 ? html`<p>None.</p>` : contextList(falsePositives.slice(0, N_OTHER), scale, "silent")}</div>
<div><h3>The unit is active, and it does not hold</h3>${falseNegatives.length === 0 ? html`<p>None.</p>` : contextList(falseNegatives.slice(0, N_OTHER), scale, "active")}</div></div></section>`;
}

/** Kinds of contexts: one sentence about a unit that has several says too little. */
function facets({ facets: found }: UnitRecord, scale: Scale): Part {
  if (found === null || found.kinds.length === 0) return "";
  const { common, kinds } = found;
  const held = ({ share, otherShare }: (typeof kinds)[number]): string =>
    `${fixed(100 * (share ?? 0), 0)} %, and for ${fixed(100 * (otherShare ?? 0), 0)} %`;
  const [only, ...more] = kinds;
  if (more.length === 0) {
    return html`<section aria-labelledby="facets"><h2 id="facets">One kind of contexts</h2><p>Parted by the words in them, its contexts do not fall into kinds. ${
      only!.phrase === null
        ? "No words are common to them and not to random places."
        : html`<strong>Active ${only!.phrase}</strong>: this holds for ${held(only!)} of random places.`
    }</p></section>`;
  }
  return html`<section aria-labelledby="facets"><h2 id="facets">${kinds.length} kinds of contexts</h2>
<p class="reading">Its contexts, parted by the words in them.${common !== null && ` What they share: active ${common}.`}</p>
${kinds.map((kind, i) => {
  const { phrase, words, nContexts, contexts: some } = kind;
  return html`<h3>${phrase === null ? "Without a name" : `Active ${phrase}`}</h3><p class="reading">${whole(nContexts ?? 0)} contexts${phrase !== null && html`; the name holds for ${held(kind)} of the others and of random places`}${words.length > 0 && html` · words that set it off: ${words.map((word, at) => [at > 0 && " ", tokenCode(word)])}`}</p>${some.length > 0 && contextList(some, scale, `kind-${i + 1}`)}`;
})}</section>`;
}

/** By what its types were decided: the numbers behind the words, also of types that it is not of. */
function evidence({ classes }: UnitRecord): Part {
  if (classes === null) return "";
  const positional = fieldsOf(classes["positional"]);
  const [information, bias, corrected, p] = ["information", "bias", "corrected", "p"].map((key) =>
    numberOf(positional[key]),
  );
  const families = listOf(classes["families"], 5).map(fieldsOf);
  const dormancy = numberOf(classes["dormancy"]);
  const rows: [string, Part][] = [
    ...(corrected === null || corrected === undefined
      ? []
      : ([
          [
            "What position says of it",
            `${fixed(corrected, 4)} nats (${fixed(information!, 4)} counted, less ${fixed(bias!, 4)} that chance gives); positional above 0.05${p === null || p === undefined ? "" : `, circular shifts p ${probability(p)}`}`,
          ],
        ] satisfies [string, Part][])),
    ...families.flatMap((family): [string, Part][] => {
      const reduction = numberOf(family["varianceReduction"]);
      const offset = numberOf(family["offset"]);
      if (reduction === null) return [];
      return [
        [
          `${textOf(family["kind"], 40) ?? "class"}: ${textOf(family["name"], 60) ?? ""}`,
          `takes away ${fixed(100 * reduction, 1)} % of its variance${offset === 0 || offset === null ? "" : ` (${Math.abs(offset)} ${Math.abs(offset) === 1 ? "token" : "tokens"} before)`}`,
        ],
      ];
    }),
    ...(dormancy === null
      ? []
      : ([
          ["Mean size, of its hook point's", `${short(dormancy)} times; dormant up to 0.025`],
        ] satisfies [string, Part][])),
  ];
  return (
    rows.length > 0 &&
    html`<details><summary>What its types rest on</summary><dl>${rows.map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}</dl></details>`
  );
}

const kinds: Readonly<Record<string, string>> = {
  token: "On the token",
  previous: "After the token",
  bigram: "At the end of the pair",
  trigram: "At the end of the triple",
};

function ngrams({ ngrams: all, nActive }: UnitRecord): Html {
  const used = all.filter(({ most }) => most.length > 0);
  return html`${
    used.length > 0 &&
    html`<h3>On which tokens it is active most often</h3><div class="columns">${used.map(
      ({ kind, most, lost }) =>
        dataTable(
          kinds[kind] ?? kind,
          [
            { title: kinds[kind] ?? kind },
            { title: "Times", numeric: true },
            {
              title: html`Of its active tokens${lost > 0 && html`<small>too low by at most ${whole(lost)} times</small>`}`,
              numeric: true,
            },
          ],
          most
            .slice(0, 8)
            .map(({ text, count }): Part[] => [
              text.map((token, i) => [i > 0 && " ", tokenCode(token)]),
              whole(count),
              share(count / Math.max(1, nActive)),
            ]),
        ),
    )}</div>`
  }`;
}

function output({ weights, description }: UnitRecord): Html {
  return html`<section aria-labelledby="output"><h2 id="output">What it writes</h2>${
    weights === null
      ? html`<p>This census has no weight statistics.</p>`
      : html`<p class="reading">Its output weights read through the model's unembedding (logit lens)${weights.role && html`: <strong>${weights.role}</strong>`}. What it writes need not be what it responds to. A token that the census's texts do not hold stands as its number${description?.output?.sentence ? `: ${description.output.sentence}` : ""}.</p>
<div class="columns">${(
          [
            ["Raises", weights.top],
            ["Lowers", weights.bottom],
          ] as const
        ).map(([title, list]) =>
          dataTable(
            `${title} most`,
            [{ title: `${title} most` }, { title: "Score", numeric: true }],
            list.slice(0, 10).map(([token, score]): Part[] => [tokenCode(token), signed(score, 2)]),
          ),
        )}</div>`
  }</section>`;
}

function neighbours({ neighbours: all, census }: UnitRecord): Part {
  if (all.length === 0) return "";
  return html`<section aria-labelledby="neighbours"><h2 id="neighbours">Units like it</h2>${dataTable(
    "Units like it",
    [
      { title: "Unit" },
      { title: "Model" },
      { title: "Alike in" },
      { title: "r", numeric: true },
      { title: "Description", wide: true },
    ],
    all.map(({ name, address, model, by, r, sentence, census: other }): Part[] => [
      html`<a href="${address}">${name}</a>`,
      other === census ? "the same" : model,
      by,
      fixed(r, 3),
      sentence || ABSENT,
    ]),
  )}</section>`;
}

/** What reports say of this unit, and then of the sets that it is part of: never one for the other. */
function reports({ reports: all }: UnitRecord): Html {
  return html`<section aria-labelledby="reports"><h2 id="reports">Ablation and brain, in reports of this model</h2>${
    all.length === 0
      ? html`<p>No report in this folder has a localizer at this hook point of this model.</p>`
      : all.map(reportRows)
  }</section>`;
}

const ownNames: Readonly<Record<string, string>> = {
  d: "Cohen's d",
  held_out_t: "t on held-out halves",
};

function reportRows({ title, base, localizer, ablation, doses, brain }: UnitInReport): Html {
  const { statistic, t, q, rank, nUnits, own, selected, nSelected } = localizer;
  const inSet = ablation[0];
  return html`<h3><a href="${base}">${title}</a></h3><p>${
    selected
      ? html`<strong>Localized</strong>: one of ${whole(nSelected)} units`
      : html`Not localized (${whole(nSelected)} ${nSelected === 1 ? "unit is" : "units are"})`
  } (<a href="${base}/sections/${encodeURIComponent(localizer.section)}">the localizer</a>).</p><h4>Of this unit</h4><dl>${[
    ["Rank", rank === null ? ABSENT : `${whole(rank)} of ${whole(nUnits)}`],
    [statistic, fixed(t, 2)],
    ["q", probability(q)],
    ...own.map(([name, value]) => [ownNames[name] ?? name.replaceAll("_", " "), short2(value)]),
    [
      "Silenced with its set",
      doses.length === 0
        ? "at no dose of this report"
        : `at ${doses.map(({ dose, nUnits: size }) => `${short(dose)} % (${whole(size)} ${size === 1 ? "unit" : "units"})`).join(", ")}`,
    ],
  ].map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>${
    inSet &&
    html`<h4>Of the set that it is silenced with${inSet.nUnits !== null && `, ${whole(inSet.nUnits)} ${inSet.nUnits === 1 ? "unit" : "units"}`}</h4><p class="reading">${
      inSet.nUnits === 1
        ? "The set is this unit alone."
        : "These numbers are not this unit's: all units of the set were silenced together, and what this one adds was not measured."
    }</p>${dataTable(
      `Ablation in ${title}`,
      [
        { title: "Task" },
        { title: "Dose", numeric: true },
        { title: "Change", numeric: true },
        { title: "Random sets", numeric: true },
        { title: "p", numeric: true },
      ],
      ablation.map(({ section, task, dose, effect, interval, randomMean, p }): Part[] => [
        html`<a href="${base}#section-${section}">${task}</a>`,
        `${short(dose)} %`,
        html`${signed(effect)}${interval && html`<small>[${signed(interval[0])}, ${signed(interval[1])}]</small>`}`,
        signed(randomMean),
        probability(p),
      ]),
    )}`
  }${
    brain.length > 0 &&
    html`<h4>The brain row of its set</h4><p class="reading">How well all localized units together predict a recording, and how well all units of this one's layer do; no report predicts one from single units.</p>${dataTable(
      `Brain in ${title}`,
      [
        { title: "Recording" },
        { title: "Score of the set", numeric: true },
        { title: "Of the ceiling", numeric: true },
        { title: "Random sets", numeric: true },
        { title: "p", numeric: true },
        { title: "Its layer", numeric: true },
      ],
      brain.map(
        ({
          section,
          recording,
          simulated,
          metric,
          nUnits: size,
          localized,
          interval,
          normalized,
          random,
          p,
          layer,
        }): Part[] => [
          html`<a href="${base}#section-${section}">${recording}</a><small>${simulated ? "simulated, " : ""}${metric}, ${whole(size)} units</small>`,
          html`${fixed(localized)}${interval && html`<small>[${fixed(interval[0])}, ${fixed(interval[1])}]</small>`}`,
          fixed(normalized, 2),
          random[0] === null ? ABSENT : `${fixed(random[0])} to ${fixed(random[1])}`,
          probability(p),
          fixed(layer),
        ],
      ),
    )}`
  }${selected && ablation.length + brain.length === 0 && html`<p>This report neither silences the set nor compares it with a brain.</p>`}`;
}

const short2 = (value: number | null): string => (value === null ? ABSENT : short(value, 3));

function statistics(record: UnitRecord): Html {
  const { statistics: own, weights } = record;
  return html`<section aria-labelledby="statistics"><h2 id="statistics">Statistics</h2><div class="columns"><dl>${Object.entries(
    own,
  ).map(
    ([name, value]) => html`<div><dt>${columnName(name)}</dt><dd>${short(value, 5)}</dd></div>`,
  )}</dl>${
    weights &&
    html`<dl>${weights.values.map(([name, value]) => html`<div><dt>${name}</dt><dd>${value === null ? ABSENT : short(value, 5)}</dd></div>`)}</dl>`
  }</div></section>`;
}

const columnNames: Readonly<Record<string, string>> = {
  meanAbs: "mean size",
  frequency: "share of tokens active",
  meanActive: "mean where active",
  hoyer: "Hoyer sparseness",
  documentShare: "share of documents active",
};

const columnName = (name: string): string =>
  columnNames[name] ?? (/^q\d/.test(name) ? `quantile ${name.slice(1)}` : name);

/** The unit's contexts as one table. */
export function unitTable({ contexts: all }: UnitRecord): Table {
  return {
    columns: [
      "kind",
      "rank",
      "bin",
      "document",
      "from",
      "peak",
      "value",
      "token",
      "tokens",
      "values",
    ],
    rows: Object.entries(all).flatMap(([kind, list]) =>
      list.map(({ document, from, peak, value, bin, tokens, values }, i) => [
        kind,
        i + 1,
        kind === "sampled" ? bin + 1 : null,
        document,
        from,
        peak,
        value,
        tokens[peak] ?? null,
        tokens.join("|"),
        values?.join(" ") ?? null,
      ]),
    ),
  };
}
