import { createHash } from "node:crypto";
import { basename, join, resolve } from "node:path";
import { UsageError } from "@penfield/core";
import { cacheFolder } from "@penfield/hooks";
import { clearStore, folderStore, type Probe, type ProbeSettings, probes } from "@penfield/probes";
import { checkDestination, type Report, writeReport } from "@penfield/report";
import { readWords, refuseWords, type Values } from "../options.ts";
import { createProgressBar } from "../progressBar.ts";
import type { Surroundings } from "../surroundings.ts";
import { serve } from "../view/view.ts";
import { readSettings, runOptions } from "./settings.ts";

export async function run(args: readonly string[], io: Surroundings): Promise<void> {
  const { values, positionals } = readWords(args, runOptions);
  const [name, ...more] = positionals;
  if (name === undefined) {
    if (values["json"])
      io.out.write(
        `${JSON.stringify(probes.map(({ id, title, question }) => ({ id, title, question })))}\n`,
      );
    else
      for (const probe of probes)
        io.out.write(`${probe.id}\n    ${probe.title}\n    ${probe.question}\n`);
    return;
  }
  const probe = probes.find((p) => p.id === name);
  if (!probe) {
    throw new UsageError(
      `run: expected one of ${probes.map((p) => p.id).join(", ")}, got ${JSON.stringify(name)}`,
    );
  }
  if (more.length > 0) {
    throw new UsageError(`run: expected one experiment, got ${JSON.stringify(more[0])} too`);
  }
  const settings = readSettings(probe, values);
  const { folder, report } = await runProbe(probe, settings, values, io);
  if (values["json"]) {
    const { id, title, model, verdicts, warnings } = report;
    io.out.write(`${JSON.stringify({ folder, id, title, model, verdicts, warnings })}\n`);
  } else {
    printVerdicts(report, io);
    io.out.write(
      `\nThe report is in ${folder}\nLook at it: npm run -s penfield -- view ${join(folder, "..")}\n`,
    );
  }
}

function printVerdicts(report: Report, io: Surroundings): void {
  io.out.write(`\n${report.title}\n`);
  for (const { expectation, outcome, text } of report.verdicts) {
    io.out.write(`\n[${outcome}] ${expectation}\n    ${text}\n`);
  }
  for (const warning of report.warnings) io.out.write(`\nNote: ${warning}\n`);
}

/** Runs an experiment and writes its report; what was finished is kept if it is interrupted. */
async function runProbe(
  probe: Probe,
  settings: ProbeSettings,
  values: Values,
  io: Surroundings,
): Promise<{ folder: string; report: Report }> {
  const model = probe.ownModel ? [] : [basename(settings.model).replace(/\.onnx$/, "")];
  const folder = resolve(
    (values["out"] as string | undefined) ?? join("reports", [probe.id, ...model].join("-")),
  );
  if (values["out"] === "") throw new UsageError("--out: expected a folder, got an empty name");
  const replace = Boolean(values["replace"]);
  await checkDestination(folder, { replace });
  const key = createHash("sha256")
    .update(JSON.stringify([probe.id, settings]))
    .digest("hex")
    .slice(0, 16);
  const workFolder = join(cacheFolder(), "work", `${probe.id}-${key}`);
  if (!values["resume"]) await clearStore(workFolder);
  const bar = createProgressBar(io.err);
  const result = await probe
    .run({ settings, work: folderStore(workFolder), onProgress: bar.onProgress, signal: io.signal })
    .finally(bar.finish);
  const id =
    basename(folder)
      .replace(/[^A-Za-z0-9._-]/g, "-")
      .replace(/^[^A-Za-z0-9]+/, "") || probe.id;
  const report = { ...result.report, id };
  await writeReport(folder, { ...result, report }, { replace });
  await clearStore(workFolder);
  return { folder, report };
}

/** `npm start`: the main experiment on the model that ships with Penfield, then the viewer. */
export async function start(args: readonly string[], io: Surroundings): Promise<void> {
  const { values, positionals } = readWords(args, {
    "no-serve": { type: "boolean" },
    port: { type: "string" },
    out: { type: "string" },
  });
  refuseWords("start", positionals, "Experiments with settings of your own: penfield run.");
  const probe = probes.find((p) => p.id === "language-network")!;
  const out = (values["out"] as string | undefined) ?? join("reports", "language-network");
  // Small enough for a minute; the whole item sets are a matter of --items-per-group.
  const settings = { ...readSettings(probe, {}), itemsPerGroup: START_ITEMS };
  io.err.write("Running the language-network experiment on the model that ships with Penfield.\n");
  const { report } = await runProbe(probe, settings, { out, replace: true, resume: true }, io);
  printVerdicts(report, io);
  io.out.write(`\nThe report is in ${out}\n`);
  if (!values["no-serve"])
    await serve(join(out, ".."), values["port"] as string | undefined, io, false);
}

/** Items of each phenomenon and task in `npm start`, chosen by time alone: the experiment must end within a minute on two cores. */
const START_ITEMS = 20;
