import type { DissociationSection } from "@penfield/report";
import { fixed, interval, signed, withInterval } from "../format.ts";
import { html } from "../html.ts";
import { box, type Exhibit, label, WIDTH, wrap } from "./exhibit.ts";

const ROW = 46;

/** Which units' loss hurts which task: localizers in rows, tasks in columns. */
export function matrixFigure(section: DissociationSection): Exhibit {
  const { localizers, tasks, cells } = section;
  const names = localizers.map(({ title }) => wrap(title, 14));
  const longest = Math.max(0, ...names.flat().map((text) => text.length));
  const left = Math.min(124, Math.max(84, 14 + 6.2 * longest));
  const cellWidth = Math.max(76, (WIDTH - left - 4) / Math.max(1, tasks.length));
  const heads = tasks.map(({ title }) => wrap(title, Math.floor(cellWidth / 6.4)));
  const top = 10 + 13 * Math.max(1, ...heads.map((lines) => lines.length));
  const harm = (cell: (typeof cells)[0]): number => {
    const task = tasks.find(({ id }) => id === cell.task)!;
    return (task.higherIsBetter ? -1 : 1) * (cell.effect.value ?? 0);
  };
  /** Accuracies are coloured beside accuracies, losses beside losses. */
  const largest = (taskId: string): number => {
    const { metric } = tasks.find(({ id }) => id === taskId)!;
    const alike = cells.filter(
      ({ task }) => tasks.find(({ id }) => id === task)!.metric === metric,
    );
    return Math.max(1e-12, ...alike.map((cell) => Math.abs(harm(cell))));
  };
  const body = localizers.map(({ id, title }, row) => {
    const y = top + row * ROW;
    const lines = names[row]!;
    return html`${lines.map((text, i) =>
      label(left - 8, y + ROW / 2 + 4 + (i - (lines.length - 1) / 2) * 13, text, { anchor: "end" }),
    )}${tasks.map((task, column) => {
      const cell = cells.find((one) => one.localizer === id && one.task === task.id);
      const x = left + column * cellWidth;
      if (!cell) return box(x, y, cellWidth - 2, ROW - 2, "none");
      const shade = 3 + Math.round((harm(cell) / largest(task.id)) * 3);
      return [
        box(
          x,
          y,
          cellWidth - 2,
          ROW - 2,
          `shade-${shade}`,
          `${title}, ${task.title}: ${withInterval(cell.effect, signed)}`,
        ),
        label(x + cellWidth / 2 - 1, y + 20, signed(cell.effect.value), {
          anchor: "middle",
          kind: `cell on-${shade}`,
        }),
        label(
          x + cellWidth / 2 - 1,
          y + 34,
          interval(cell.effect, (v) => fixed(v, 2)),
          { anchor: "middle", kind: `tick on-${shade}` },
        ),
      ];
    })}`;
  });
  return {
    id: `${section.id}-matrix`,
    title: "Change of each task when each localizer's units are silenced",
    description: cells
      .map((cell) => `${cell.localizer} units, ${cell.task}: ${withInterval(cell.effect, signed)}`)
      .join("; "),
    caption:
      "Rows: whose units were silenced; columns: the task. Silenced minus intact, with its interval. Orange: worse without the units; blue: better.",
    drawing: {
      width: Math.max(WIDTH, left + tasks.length * cellWidth + 4),
      height: top + localizers.length * ROW + 4,
      content: html`${heads.map((lines, column) =>
        lines.map((text, i) =>
          label(
            left + (column + 0.5) * cellWidth - 1,
            top - 6 - (lines.length - 1 - i) * 13,
            text,
            { anchor: "middle" },
          ),
        ),
      )}${body}`,
    },
    numbers: {
      columns: ["localizer", "task", "effect", "low", "high"],
      rows: cells.map(({ localizer, task, effect }) => [
        localizer,
        task,
        effect.value,
        effect.interval?.[0] ?? null,
        effect.interval?.[1] ?? null,
      ]),
    },
  };
}
