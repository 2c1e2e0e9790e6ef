import { resolve } from "node:path";
import { UsageError } from "@penfield/core";
import { exportPage, exportSite, type LiveModel, startViewer } from "@penfield/viewer";
import { readWords, refuseWords, type Values } from "../options.ts";
import { createProgressBar } from "../progressBar.ts";
import type { Surroundings } from "../surroundings.ts";

const json = { type: "boolean" } as const;

export async function view(args: readonly string[], io: Surroundings): Promise<void> {
  const { values, positionals } = readWords(args, {
    port: { type: "string" },
    host: { type: "string" },
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
  // Looking at reports needs no runtime for models: it is loaded for those who ask for one.
  const live =
    model === undefined
      ? undefined
      : (await import("./liveModel.ts")).liveModel(model, values["file"] as string | undefined);
  try {
    const asJson = Boolean(values["json"]);
    const host = values["host"] as string | undefined;
    await serve(folder, values["port"] as string | undefined, io, asJson, { live, host });
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

export async function serve(
  folder: string,
  portText: string | undefined,
  io: Surroundings,
  asJson: boolean,
  { live, host }: { live?: LiveModel | undefined; host?: string | undefined } = {},
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
    host,
    ...(port === undefined ? {} : { port }),
  });
  io.out.write(
    asJson
      ? `${JSON.stringify({ url: viewer.url })}\n`
      : `\nThe viewer is at ${viewer.url}\n${host === undefined || host === "127.0.0.1" ? "" : "Whoever has this address can read it; what is sent is not encrypted.\n"}Press Ctrl-C to stop it.\n`,
  );
  await new Promise<void>((stop) => {
    if (io.signal.aborted) stop();
    io.signal.addEventListener("abort", () => stop(), { once: true });
  });
  await viewer.close();
}
