import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { ArgumentError, UsageError } from "@penfield/core";
import { cacheFolder, HookedModel } from "@penfield/hooks";
import { isOrganism, organismFolder } from "@penfield/organisms";
import {
  clearStore,
  corporaFolder,
  folderStore,
  type Probe,
  type ProbeSettings,
  probes,
} from "@penfield/probes";
import { fetchCorpus, readSource } from "@penfield/recordings";
import { checkDestination, type Report, writeReport } from "@penfield/report";
import { exportPage, exportSite, type LiveModel, startViewer } from "@penfield/viewer";
import { align } from "./align/align.ts";
import { capture } from "./capture.ts";
import { ceiling } from "./ceiling.ts";
import { census, describe } from "./census.ts";
import { compare } from "./compare/compare.ts";
import { helpText } from "./help.ts";
import { readSettings, readWords, refuseWords, runOptions, type Values } from "./options.ts";
import { createProgressBar } from "./progressBar.ts";
import { recordings } from "./recordings.ts";
import { rsa } from "./rsa/rsa.ts";
import type { Surroundings } from "./surroundings.ts";
import { liveModel } from "./view/liveModel.ts";

type Command = (args: readonly string[], surroundings: Surroundings) => Promise<void>;

const json = { type: "boolean" } as const;

async function run(args: readonly string[], io: Surroundings): Promise<void> {
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

async function hooks(args: readonly string[], io: Surroundings): Promise<void> {
  const { values, positionals } = readWords(args, {
    model: { type: "string" },
    file: { type: "string" },
    pattern: { type: "string" },
    json,
  });
  refuseWords("hooks", positionals, "Name the model with --model.");
  const name = (values["model"] as string | undefined) ?? "organism-a";
  const bar = createProgressBar(io.err);
  const model = await HookedModel.fromPretrained(isOrganism(name) ? organismFolder(name) : name, {
    file: values["file"] as string | undefined,
    onProgress: bar.onProgress,
  }).finally(bar.finish);
  const found = model.listHooks((values["pattern"] as string | undefined) ?? "*");
  if (values["json"])
    io.out.write(`${JSON.stringify({ cfg: model.cfg, identity: model.identity, hooks: found })}\n`);
  else {
    const { cfg, identity } = model;
    io.out.write(
      `${cfg.modelName}: ${cfg.nLayers} layers, d_model ${cfg.dModel}, ${cfg.nHeads ?? "?"} heads, d_mlp ${cfg.dMlp ?? "?"}, vocabulary ${cfg.dVocab ?? "?"}\n` +
        `With neutral hooks everywhere the output is ${identity.state === "exact" ? "bit-equal to the plain model's" : `within ${identity.maxAbsDifference.toExponential(1)} of the plain model's`}.\n\n`,
    );
    for (const h of found) {
      const state = [
        h.readable ? "readable" : "",
        h.writable ? "writable" : "",
        h.verified ? "verified" : "",
      ]
        .filter(Boolean)
        .join(", ");
      io.out.write(
        `${h.name}  [${h.axes.join(", ")}]  ${h.nUnits ?? "?"} units  ${state}${h.reason ? ` (${h.reason})` : ""}\n`,
      );
    }
  }
  await model.dispose();
}

async function corpora(args: readonly string[], io: Surroundings): Promise<void> {
  const { values, positionals } = readWords(args, { to: { type: "string" }, json });
  const [action, name, ...more] = positionals;
  if (action === undefined) {
    const names = (await readdir(corporaFolder, { withFileTypes: true }))
      .filter((f) => f.isDirectory())
      .map((f) => f.name);
    const sources = (
      await Promise.all(names.map((n) => readSource(join(corporaFolder, n))))
    ).filter((s) => s !== undefined);
    if (values["json"]) io.out.write(`${JSON.stringify(sources)}\n`);
    for (const s of values["json"] ? [] : sources) {
      const published = s.url !== undefined || s.files !== undefined;
      io.out.write(
        `${s.name}\n    ${s.title} (${s.licence})${published ? `; penfield corpora fetch ${s.name}` : ""}\n`,
      );
    }
    return;
  }
  if (action !== "fetch" || name === undefined || more.length > 0) {
    throw new UsageError(
      `corpora: expected "corpora" or "corpora fetch NAME", got ${JSON.stringify(positionals.join(" "))}`,
    );
  }
  // A name of the list, or a source.json of the user's own.
  const source = name.endsWith(".json") ? name : join(corporaFolder, name, "source.json");
  await readFile(source).catch(() => {
    throw new ArgumentError(
      `corpora: expected the name of a stimulus set, got ${JSON.stringify(name)}`,
      {
        hint: "penfield corpora lists them.",
      },
    );
  });
  const destination = resolve(
    (values["to"] as string | undefined) ?? join(cacheFolder(), "corpora"),
  );
  const bar = createProgressBar(io.err);
  const fetched = await fetchCorpus(source, {
    destination,
    onProgress: bar.onProgress,
    signal: io.signal,
  }).finally(bar.finish);
  io.out.write(
    values["json"] ? `${JSON.stringify(fetched)}\n` : `${name} is in ${fetched.folder}\n`,
  );
}

async function view(args: readonly string[], io: Surroundings): Promise<void> {
  const { values, positionals } = readWords(args, {
    port: { type: "string" },
    model: { type: "string" },
    file: { type: "string" },
    export: { type: "string" },
    units: { type: "string" },
    json,
  });
  refuseWords("view", positionals.slice(1), "Give one folder with reports.");
  const folder = positionals[0] ?? "reports";
  if (values["export"] !== undefined) {
    await exportView(folder, values, io);
    return;
  }
  const model = values["model"] as string | undefined;
  const live =
    model === undefined ? undefined : liveModel(model, values["file"] as string | undefined);
  try {
    const asJson = Boolean(values["json"]);
    await serve(folder, values["port"] as string | undefined, io, asJson, live);
  } finally {
    await live?.dispose();
  }
}

/** Writes what the viewer shows as files: one .html of a report, or a folder. */
async function exportView(folder: string, values: Values, io: Surroundings): Promise<void> {
  const destination = values["export"] as string;
  if (destination === "") throw new UsageError("--export: expected a name, got an empty one");
  const units = values["units"] as string | undefined;
  if (units !== undefined && !/^\d+$/.test(units)) {
    throw new UsageError(`--units: expected a whole number, got ${JSON.stringify(units)}`);
  }
  const reportsFolder = resolve(folder);
  const bar = createProgressBar(io.err);
  const { nFiles, nBytes } = await (destination.endsWith(".html")
    ? exportPage(resolve(destination), { reportsFolder })
    : exportSite(resolve(destination), {
        reportsFolder,
        nUnits: units === undefined ? undefined : Number(units),
        onProgress: bar.onProgress,
        signal: io.signal,
      })
  ).finally(bar.finish);
  io.out.write(
    values["json"]
      ? `${JSON.stringify({ path: resolve(destination), nFiles, nBytes })}\n`
      : `${nFiles} ${nFiles === 1 ? "file" : "files"}, ${(nBytes / 2 ** 20).toFixed(1)} MiB: ${resolve(destination)}\n`,
  );
}

async function serve(
  folder: string,
  portText: string | undefined,
  io: Surroundings,
  asJson: boolean,
  live?: LiveModel | undefined,
): Promise<void> {
  const port = portText === undefined ? undefined : Number(portText);
  if (
    portText?.trim() === "" ||
    (port !== undefined && !(Number.isInteger(port) && port >= 0 && port < 65536))
  ) {
    throw new UsageError(
      `--port: expected a whole number from 0 to 65535, got ${JSON.stringify(portText)}`,
    );
  }
  const viewer = await startViewer({
    reportsFolder: resolve(folder),
    live,
    ...(port === undefined ? {} : { port }),
  });
  io.out.write(
    asJson
      ? `${JSON.stringify({ url: viewer.url })}\n`
      : `\nThe viewer is at ${viewer.url}\nPress Ctrl-C to stop it.\n`,
  );
  await new Promise<void>((stop) => {
    if (io.signal.aborted) stop();
    io.signal.addEventListener("abort", () => stop(), { once: true });
  });
  await viewer.close();
}

/** `npm start`: the main experiment on the model that ships with Penfield, then the viewer. */
async function start(args: readonly string[], io: Surroundings): Promise<void> {
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

export const commands: Readonly<Record<string, Command>> = {
  run,
  hooks,
  capture,
  compare,
  rsa,
  align,
  ceiling,
  census,
  describe,
  recordings,
  corpora,
  view,
  start,
  help: async (_args, io) => {
    io.out.write(helpText);
  },
};
