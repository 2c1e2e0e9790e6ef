import { stat } from "node:fs/promises";
import { join } from "node:path";
import { PenfieldError } from "@penfield/core";
import {
  type AlignmentRow,
  type AlignmentSection,
  type LesionSection,
  listReports,
  type Report,
  readReportArray,
  readReportTable,
  type Statistic,
} from "@penfield/report";
import type { OpenCensus } from "./openCensuses.ts";

/** What a report of the same model says of a unit, and of the set of units that it belongs to. */
export interface UnitInReport {
  readonly name: string;
  readonly title: string;
  readonly base: string;
  /** Of this unit. */
  readonly localizer: {
    readonly section: string;
    readonly statistic: string;
    readonly t: Statistic;
    readonly q: Statistic;
    readonly selected: boolean;
    readonly nSelected: number;
    /** Its place among all units of the localizer, from 1. */
    readonly rank: number | null;
    readonly nUnits: number;
    /** Whatever else the report's table of units holds of it. */
    readonly own: readonly (readonly [name: string, value: Statistic])[];
  };
  /** Of whole sets that it is in, at the main dose; empty where it was not silenced. */
  readonly ablation: readonly {
    readonly section: string;
    readonly task: string;
    readonly dose: number;
    /** How many units were silenced together. */
    readonly nUnits: number | null;
    readonly effect: Statistic;
    readonly interval: readonly [number, number] | null;
    readonly randomMean: Statistic;
    readonly p: Statistic;
  }[];
  /** The doses at which it is among the silenced units. */
  readonly doses: readonly { readonly dose: number; readonly nUnits: number }[];
  /** Of the whole localized set; empty where it is not in it. */
  readonly brain: readonly {
    readonly section: string;
    readonly recording: string;
    readonly simulated: boolean;
    readonly metric: string;
    readonly nUnits: number;
    readonly localized: Statistic;
    readonly interval: readonly [number, number] | null;
    readonly normalized: Statistic;
    /** Smallest and largest of random sets as large. */
    readonly random: readonly [Statistic, Statistic];
    readonly p: Statistic;
    /** All units of its layer; null where layers were not scored. */
    readonly layer: Statistic;
  }[];
}

/** Units of a census that a report localized. */
export interface LocalizedSet {
  /** "REPORT/SECTION": how addresses name it. */
  readonly name: string;
  readonly title: string;
  /** The localizer's own page. */
  readonly address: string;
  /** 1 for each unit of the census that is in it. */
  readonly mask: Uint8Array;
  readonly nUnits: number;
  /** 1 for each unit of the census that could have been in it. */
  readonly nCandidates: number;
}

interface Selection {
  readonly id: string;
  readonly title: string;
  readonly hook: string;
  readonly statistic: string;
  readonly nSelected: number;
  readonly nUnits: number;
  readonly nLayers: number;
  readonly t: ArrayLike<number>;
  readonly q: ArrayLike<number>;
  readonly mask: ArrayLike<number>;
  /** By what units were ranked; undefined where the selection is neither the highest t nor the farthest from 0. */
  readonly key: ((t: number) => number) | undefined;
}

interface Held {
  readonly stamp: string;
  readonly selections: readonly Selection[];
  /** Of the table of units: layer and unit as "3.17". */
  readonly own: ReadonlyMap<string, readonly (readonly [string, Statistic])[]>;
}

interface ReportOfModel {
  readonly name: string;
  readonly report: Report;
  readonly held: Held;
}

/** So many reports are looked through, and localizers of so many units. */
const MAX_REPORTS = 50;
const MAX_UNITS = 2 ** 21;

/** Finds units of a model in the reports of a folder; maps of localizers are kept while their report stays the same. */
export class ReportLinks {
  readonly #folder: string;
  readonly #held = new Map<string, Held>();
  readonly #sets = new WeakMap<
    OpenCensus["meta"],
    { readonly stamp: string; readonly sets: readonly LocalizedSet[] }
  >();
  #listed: { readonly at: number; readonly reports: ReturnType<typeof listReports> } | undefined;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** What reports say of one unit. */
  async of(
    sha256: string,
    hook: string,
    layer: number | null,
    index: number,
  ): Promise<UnitInReport[]> {
    if (layer === null) return [];
    const found: UnitInReport[] = [];
    for (const { name, report, held } of await this.#ofModel(sha256)) {
      for (const own of held.selections) {
        if (!sameHook(own.hook, hook) || layer >= own.nLayers || index >= own.nUnits) continue;
        const at = layer * own.nUnits + index;
        const selected = own.mask[at] === 1;
        const rank = rankOf(own, at);
        const { ablation, doses } = ablations(report, own, rank, selected);
        found.push({
          name,
          title: report.title,
          base: `/reports/${encodeURIComponent(name)}`,
          localizer: {
            section: own.id,
            statistic: own.statistic,
            t: finite(own.t[at]),
            q: finite(own.q[at]),
            selected,
            nSelected: own.nSelected,
            rank,
            nUnits: own.nLayers * own.nUnits,
            own: held.own.get(`${layer}.${index}`) ?? [],
          },
          ablation,
          doses,
          brain: selected ? brain(report, layer) : [],
        });
      }
    }
    return found;
  }

  /** The sets of units of a census's model that reports localized; kept while their reports stay the same. */
  async sets({ meta }: Pick<OpenCensus, "meta">): Promise<readonly LocalizedSet[]> {
    const reports = await this.#ofModel(meta.model.sha256);
    const stamp = reports.map(({ name, held }) => `${name}:${held.stamp}`).join(" ");
    const before = this.#sets.get(meta);
    if (before?.stamp === stamp) return before.sets;
    const sets = setsOf(meta, reports);
    this.#sets.set(meta, { stamp, sets });
    return sets;
  }

  async #ofModel(sha256: string): Promise<ReportOfModel[]> {
    const found = [];
    for (const item of (await this.#reports()).slice(0, MAX_REPORTS)) {
      if (!("report" in item) || item.report.model?.sha256 !== sha256) continue;
      const { name, folder, report } = item;
      found.push({ name, report, held: await this.#hold(name, folder, report) });
    }
    return found;
  }

  /** Reading all reports anew for each page of units would be slow: they are looked at again after two seconds. */
  #reports(): ReturnType<typeof listReports> {
    const now = Date.now();
    if (!this.#listed || now - this.#listed.at > 2000) {
      this.#listed = { at: now, reports: listReports(this.#folder) };
    }
    return this.#listed.reports;
  }

  async #hold(name: string, folder: string, report: Report): Promise<Held> {
    const { mtimeMs, size } = await stat(join(folder, "report.json"));
    const stamp = `${mtimeMs}:${size}`;
    const before = this.#held.get(name);
    if (before?.stamp === stamp) return before;
    const selections: Selection[] = [];
    for (const section of report.sections) {
      if (section.kind !== "selection" || section.nLayers * section.nUnits > MAX_UNITS) continue;
      const { id, title, hook, nUnits, nLayers, statistic, selected } = section;
      const arrays = await readable(
        Promise.all(
          [section.arrays.t, section.arrays.q, section.arrays.mask].map(async (file) => {
            const { data } = await readReportArray(folder, report, file);
            return data as ArrayLike<number>;
          }),
        ),
      );
      if (!arrays) continue;
      const [t, q, mask] = arrays as [ArrayLike<number>, ArrayLike<number>, ArrayLike<number>];
      selections.push({
        ...{ id, title, hook, nUnits, nLayers, statistic: statistic.name },
        nSelected: selected.nSelected,
        ...{ t, q, mask, key: keyOf(t, mask) },
      });
    }
    const held = { stamp, selections, own: await ownNumbers(folder, report) };
    this.#held.set(name, held);
    return held;
  }
}

function setsOf(meta: OpenCensus["meta"], reports: readonly ReportOfModel[]): LocalizedSet[] {
  const sets: LocalizedSet[] = [];
  for (const { name, report, held } of reports) {
    for (const own of held.selections) {
      const mask = new Uint8Array(meta.nUnits);
      let [nUnits, nCandidates] = [0, 0];
      for (const hook of meta.hooks) {
        if (hook.layer === null || hook.layer >= own.nLayers) continue;
        if (!sameHook(own.hook, hook.name)) continue;
        for (let i = 0; i < Math.min(hook.nUnits, own.nUnits); i++) {
          nCandidates++;
          if (own.mask[hook.layer * own.nUnits + i] !== 1) continue;
          mask[hook.firstUnit + i] = 1;
          nUnits++;
        }
      }
      if (nCandidates === 0) continue;
      sets.push({
        name: `${name}/${own.id}`,
        title: `${report.title}: ${own.title}`,
        address: `/reports/${encodeURIComponent(name)}/sections/${encodeURIComponent(own.id)}`,
        ...{ mask, nUnits, nCandidates },
      });
    }
  }
  return sets;
}

/** What can be read; the report's own page says what is wrong with the rest. */
async function readable<T>(reading: Promise<T>): Promise<T | undefined> {
  try {
    return await reading;
  } catch (error) {
    if (error instanceof PenfieldError) return undefined;
    throw error;
  }
}

/** Columns of the table of units that stand elsewhere on a unit's page. */
const KNOWN_COLUMNS = ["rank", "layer", "unit", "t", "q"];
/** Rows and columns that are kept of it. */
const MAX_ROWS = 200_000;
const MAX_COLUMNS = 20;

async function ownNumbers(folder: string, report: Report): Promise<Held["own"]> {
  const own = new Map<string, readonly (readonly [string, Statistic])[]>();
  const section = report.sections.find(({ kind }) => kind === "units");
  const table =
    section?.kind === "units" && (await readable(readReportTable(folder, report, section.table)));
  if (!table) return own;
  const [layer, unit] = [table.columns.indexOf("layer"), table.columns.indexOf("unit")];
  if (layer < 0 || unit < 0) return own;
  const shown = table.columns
    .map((name, column) => ({ name, column }))
    .filter(({ name }) => !KNOWN_COLUMNS.includes(name))
    .slice(0, MAX_COLUMNS);
  for (const row of table.rows.slice(0, MAX_ROWS)) {
    own.set(
      `${row[layer]}.${row[unit]}`,
      shown.flatMap(({ name, column }) => {
        const value = row[column];
        return typeof value === "number" ? [[name, finite(value)] as const] : [];
      }),
    );
  }
  return own;
}

/** Whether the selected units are those of the highest t, or those farthest from 0. */
function keyOf(t: ArrayLike<number>, mask: ArrayLike<number>): Selection["key"] {
  for (const key of [(value: number) => value, Math.abs]) {
    let least = Number.POSITIVE_INFINITY;
    let most = Number.NEGATIVE_INFINITY;
    for (let i = 0; i < t.length; i++) {
      if (mask[i] === 1) least = Math.min(least, key(t[i]!));
      else if (key(t[i]!) > most) most = key(t[i]!);
    }
    if (least >= most) return key;
  }
  return undefined;
}

function rankOf({ t, key }: Selection, at: number): number | null {
  if (!key || !Number.isFinite(t[at]!)) return null;
  const own = key(t[at]!);
  let rank = 1;
  for (let i = 0; i < t.length; i++) if (key(t[i]!) > own) rank++;
  return rank;
}

/** "blocks.*.mlp.hook_post" or "mlp.hook_post" is the hook of every layer. */
function sameHook(pattern: string, hook: string): boolean {
  const plain = (name: string): string => name.replace(/^blocks\.(?:\*|\d+|\{[^}]*\})\./, "");
  return plain(pattern) === plain(hook);
}

const finite = (value: number | undefined): Statistic =>
  value !== undefined && Number.isFinite(value) ? value : null;

/** Lesions of sets that a unit of this rank is in: at the main dose, or at the smallest one that takes it. */
function ablations(
  report: Report,
  { hook, nSelected }: Selection,
  rank: number | null,
  selected: boolean,
): Pick<UnitInReport, "ablation" | "doses"> {
  const lesions = report.sections.filter(
    (section): section is LesionSection =>
      section.kind === "lesion" && sameHook(section.hook, hook),
  );
  const doses = new Map<number, number>();
  const ablation: UnitInReport["ablation"][number][] = [];
  for (const section of lesions) {
    const sizes = new Map(
      section.curves
        .filter(({ set }) => set === "localized")
        .flatMap(({ points }) => points.map(({ dose, nUnits }) => [dose, nUnits] as const)),
    );
    const taking = section.doses.filter((dose) => {
      const size = sizes.get(dose) ?? (dose === section.mainDose ? nSelected : 0);
      // Without ranks, what is known is the set of the main dose.
      return rank === null ? selected && dose === section.mainDose : rank <= size;
    });
    for (const dose of taking) doses.set(dose, sizes.get(dose) ?? nSelected);
    const shown = taking.includes(section.mainDose) ? section.mainDose : taking[0];
    for (const { task, dose, effect, randomMean, p } of section.effects) {
      if (dose !== shown) continue;
      ablation.push({
        section: section.id,
        task: section.tasks.find(({ id }) => id === task)?.title ?? task,
        dose,
        nUnits: sizes.get(dose) ?? null,
        effect: effect.value,
        interval: effect.interval,
        randomMean,
        p,
      });
    }
  }
  return {
    ablation,
    doses: [...doses].map(([dose, nUnits]) => ({ dose, nUnits })).sort((a, b) => a.dose - b.dose),
  };
}

function brain(report: Report, layer: number): UnitInReport["brain"] {
  return report.sections
    .filter((section): section is AlignmentSection => section.kind === "alignment")
    .flatMap((section) => {
      const row = (set: AlignmentRow["set"]) => section.rows.find((one) => one.set === set);
      const localized = row("localized");
      if (!localized) return [];
      const draws = (row("random")?.draws ?? []).filter((draw) => draw !== null);
      return [
        {
          section: section.id,
          recording: section.recording.name,
          simulated: section.recording.simulated,
          metric: section.metric,
          nUnits: localized.nUnits,
          localized: localized.score.value,
          interval: localized.score.interval,
          normalized: localized.normalized,
          random:
            draws.length === 0
              ? ([null, null] as const)
              : ([Math.min(...draws), Math.max(...draws)] as const),
          p: section.p,
          layer: section.layers?.find((one) => one.layer === layer)?.score.value ?? null,
        },
      ];
    });
}
