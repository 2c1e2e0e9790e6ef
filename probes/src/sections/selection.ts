import {
  type Contrast,
  type CrossValidation,
  perLayerCounts,
  toMask,
  type UnitKind,
  type UnitSet,
  unitHook,
} from "@penfield/localize";
import type { ReportArray, SelectionSection, Table, UnitRow, UnitsSection } from "@penfield/report";
import { quantile } from "@penfield/stats";
import type { ProbeSettings } from "../probe.ts";

const SIGNIFICANT = 0.05;

/** What a localizer found: the section of the report, and its maps as arrays. */
export function selectionSection(
  found: Contrast,
  selected: UnitSet,
  heldOut: CrossValidation,
  settings: ProbeSettings,
  { id, title, reading }: { id: string; title: string; reading: string },
): { section: SelectionSection; arrays: Record<string, ReportArray> } {
  const [nLayers, nUnits] = found.t.shape;
  const counts = perLayerCounts(selected);
  const layers = Array.from({ length: nLayers }, (_, layer) => {
    const t = found.t.data
      .subarray(layer * nUnits, (layer + 1) * nUnits)
      .filter((v) => !Number.isNaN(v));
    const q = found.q.data.subarray(layer * nUnits, (layer + 1) * nUnits);
    const at = (p: number): number | null => (t.length === 0 ? null : quantile(t, p));
    return {
      layer,
      nSelected: counts[layer]!,
      quantiles: {
        p5: at(0.05),
        p25: at(0.25),
        p50: at(0.5),
        p75: at(0.75),
        p95: at(0.95),
        max: at(1),
      },
      tMean: t.length === 0 ? null : t.reduce((a, b) => a + b, 0) / t.length,
      nSignificant: q.reduce((n, value) => n + (value < SIGNIFICANT ? 1 : 0), 0),
    };
  });
  const shape = [nLayers, nUnits];
  const nSelected = selected.indices.length;
  return {
    section: {
      kind: "selection",
      id,
      title,
      reading,
      hook: unitHook(settings.units, 0).replace("blocks.0.", "blocks.*."),
      nLayers,
      nUnits,
      statistic: {
        name: "Welch t",
        magnitude: found.magnitude,
        pooling: settings.pooling,
        maxTokens: settings.maxTokens ?? null,
      },
      selected: {
        k: Math.max(1, Math.floor((settings.percent / 100) * nLayers * nUnits)),
        percent: settings.percent,
        scope: "global",
        nSelected,
      },
      layers,
      heldOut: {
        nSplits: heldOut.splits.length,
        jaccard: { value: heldOut.jaccard, interval: null },
        selectivity: estimate(heldOut.selected),
        randomSelectivity: estimate(heldOut.random),
      },
      arrays: { t: `${id}-t.npy`, q: `${id}-q.npy`, mask: `${id}-mask.npy` },
    },
    arrays: {
      [`${id}-t.npy`]: { data: found.t.data, shape },
      [`${id}-q.npy`]: { data: found.q.data, shape },
      [`${id}-mask.npy`]: { data: toMask(selected), shape },
    },
  };
}

const estimate = ({ estimate, low, high }: { estimate: number; low: number; high: number }) => ({
  value: estimate,
  interval: [low, high] as [number, number],
});

const N_TOP = 20;

/**
 * The selected units as a table, strongest first.
 *
 * @param options.hook - Where units of other kinds lie.
 * @param options.bySize - Strongest is farthest from 0.
 */
export function unitsSection(
  found: Contrast,
  selected: UnitSet,
  heldOut: CrossValidation,
  kind: UnitKind,
  { hook, bySize = false }: { hook?: string; bySize?: boolean } = {},
): { section: UnitsSection; tables: Record<string, Table> } {
  const { nUnits } = selected;
  const held = new Map<number, number[]>();
  for (const { folds } of heldOut.splits) {
    for (const fold of folds) {
      fold.units.indices.forEach((index, i) => {
        held.set(index, [...(held.get(index) ?? []), fold.t[i]!]);
      });
    }
  }
  const strength = (i: number): number => (bySize ? Math.abs(found.t.data[i]!) : found.t.data[i]!);
  const rows = [...selected.indices]
    .sort((a, b) => strength(b) - strength(a) || a - b)
    .map((index, i): UnitRow => {
      const values = held.get(index);
      return {
        rank: i + 1,
        layer: Math.floor(index / nUnits),
        unit: index % nUnits,
        t: found.t.data[index]!,
        q: found.q.data[index]!,
        d: found.d.data[index]!,
        heldOutT: values ? values.reduce((a, b) => a + b, 0) / values.length : null,
      };
    });
  const table: Table = {
    columns: ["rank", "layer", "unit", "hook", "t", "q", "d", "held_out_t"],
    rows: rows.map((r) => [
      r.rank,
      r.layer,
      r.unit,
      hook ?? unitHook(kind, r.layer),
      r.t,
      r.q,
      r.d,
      r.heldOutT,
    ]),
  };
  return {
    section: {
      kind: "units",
      id: "units",
      title: "The selected units",
      reading:
        "Each selected unit with its t on all stimuli, and with its mean t on held-out halves in those splits whose other half selected it too (empty where none did).",
      table: "units.parquet",
      top: rows.slice(0, N_TOP),
    },
    tables: { "units.parquet": table },
  };
}
