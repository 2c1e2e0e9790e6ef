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
  type Statistic,
} from "@penfield/report";

/** What a report of the same model says of a unit, and of the set of units that it belongs to. */
export interface UnitInReport {
  readonly name: string;
  readonly title: string;
  readonly base: string;
  readonly localizer: {
    readonly section: string;
    readonly statistic: string;
    readonly t: Statistic;
    readonly q: Statistic;
    readonly selected: boolean;
    readonly nSelected: number;
  };
  /** Of the whole set, at the main dose; empty where the unit is not in it. */
  readonly ablation: readonly {
    readonly section: string;
    readonly task: string;
    readonly dose: number;
    readonly effect: Statistic;
    readonly interval: readonly [number, number] | null;
    readonly randomMean: Statistic;
    readonly p: Statistic;
  }[];
  readonly brain: readonly {
    readonly section: string;
    readonly recording: string;
    readonly simulated: boolean;
    readonly metric: string;
    readonly localized: Statistic;
    readonly interval: readonly [number, number] | null;
    readonly normalized: Statistic;
    /** Smallest and largest of random sets as large. */
    readonly random: readonly [Statistic, Statistic];
    readonly p: Statistic;
  }[];
}

interface Held {
  readonly stamp: string;
  readonly selections: readonly {
    readonly id: string;
    readonly hook: string;
    readonly statistic: string;
    readonly nSelected: number;
    readonly nUnits: number;
    readonly nLayers: number;
    readonly t: ArrayLike<number>;
    readonly q: ArrayLike<number>;
    readonly mask: ArrayLike<number>;
  }[];
}

/** So many reports are looked through, and localizers of so many units. */
const MAX_REPORTS = 50;
const MAX_UNITS = 2 ** 21;

/** Finds units of a model in the reports of a folder; maps of localizers are kept while their report stays the same. */
export class ReportLinks {
  readonly #folder: string;
  readonly #held = new Map<string, Held>();
  #listed: { readonly at: number; readonly reports: ReturnType<typeof listReports> } | undefined;

  constructor(folder: string) {
    this.#folder = folder;
  }

  async of(
    sha256: string,
    hook: string,
    layer: number | null,
    index: number,
  ): Promise<UnitInReport[]> {
    if (layer === null) return [];
    const found: UnitInReport[] = [];
    for (const item of (await this.#reports()).slice(0, MAX_REPORTS)) {
      if (!("report" in item) || item.report.model?.sha256 !== sha256) continue;
      const { name, folder, report } = item;
      const { selections } = await this.#hold(name, folder, report);
      for (const own of selections) {
        if (!sameHook(own.hook, hook) || layer >= own.nLayers || index >= own.nUnits) continue;
        const at = layer * own.nUnits + index;
        const selected = own.mask[at] === 1;
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
          },
          ablation: selected ? ablation(report, own.hook) : [],
          brain: selected ? brain(report) : [],
        });
      }
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
    const selections: Held["selections"][number][] = [];
    for (const section of report.sections) {
      if (section.kind !== "selection" || section.nLayers * section.nUnits > MAX_UNITS) continue;
      const { id, hook, nUnits, nLayers, statistic, selected } = section;
      try {
        const [t, q, mask] = await Promise.all(
          [section.arrays.t, section.arrays.q, section.arrays.mask].map(async (file) => {
            const { data } = await readReportArray(folder, report, file);
            return data as ArrayLike<number>;
          }),
        );
        selections.push({
          ...{ id, hook, nUnits, nLayers, statistic: statistic.name },
          nSelected: selected.nSelected,
          ...{ t: t!, q: q!, mask: mask! },
        });
      } catch (error) {
        // The report's own page says what is wrong with it.
        if (!(error instanceof PenfieldError)) throw error;
      }
    }
    const held = { stamp, selections };
    this.#held.set(name, held);
    return held;
  }
}

/** "blocks.*.mlp.hook_post" or "mlp.hook_post" is the hook of every layer. */
function sameHook(pattern: string, hook: string): boolean {
  const plain = (name: string): string => name.replace(/^blocks\.(?:\*|\d+|\{[^}]*\})\./, "");
  return plain(pattern) === plain(hook);
}

const finite = (value: number | undefined): Statistic =>
  value !== undefined && Number.isFinite(value) ? value : null;

function ablation(report: Report, hook: string): UnitInReport["ablation"] {
  return report.sections
    .filter((section): section is LesionSection => section.kind === "lesion")
    .filter((section) => sameHook(section.hook, hook))
    .flatMap((section) =>
      section.effects
        .filter(({ dose }) => dose === section.mainDose)
        .map(({ task, dose, effect, randomMean, p }) => ({
          section: section.id,
          task: section.tasks.find(({ id }) => id === task)?.title ?? task,
          dose,
          effect: effect.value,
          interval: effect.interval,
          randomMean,
          p,
        })),
    );
}

function brain(report: Report): UnitInReport["brain"] {
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
          localized: localized.score.value,
          interval: localized.score.interval,
          normalized: localized.normalized,
          random:
            draws.length === 0
              ? ([null, null] as const)
              : ([Math.min(...draws), Math.max(...draws)] as const),
          p: section.p,
        },
      ];
    });
}
