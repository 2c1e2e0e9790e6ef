import type { Server } from "node:http";
import { fileError, UsageError } from "@penfield/core";
import { listReports } from "@penfield/report";
import type express from "express";
import { createViewer, type ViewerOptions } from "./app.ts";

/** Where the viewer listens if nobody says otherwise; the next free one of twenty is taken. */
const DEFAULT_PORT = 4747;
const TRIES = 20;

/** A viewer that answers until it is closed. */
export interface RunningViewer {
  /** "http://127.0.0.1:4747/". */
  readonly url: string;
  close(): Promise<void>;
}

/**
 * Starts the viewer on this machine.
 *
 * @param options.reportsFolder - A folder of reports, or one report; it must exist.
 * @param options.port - Exactly this one. Without it, 4747 or the next free one; 0 leaves the choice to the system.
 * @param options.host - Only 127.0.0.1: the viewer is not made for a network.
 * @throws {FileError} if the folder cannot be read.
 * @throws {UsageError} if the port is taken, or the host is another one.
 */
export async function startViewer({
  reportsFolder,
  port,
  host = "127.0.0.1",
  ...options
}: ViewerOptions & {
  readonly port?: number | undefined;
  readonly host?: string | undefined;
}): Promise<RunningViewer> {
  if (host !== "127.0.0.1") {
    throw new UsageError(`startViewer: expected the host 127.0.0.1, got ${host}`, {
      hint: "The viewer serves this machine only; to read from another one, use an SSH tunnel.",
    });
  }
  if (port !== undefined && !(Number.isInteger(port) && port >= 0 && port <= 65535)) {
    throw new UsageError(`startViewer: expected a port within 0..65535, got ${port}`, {
      hint: "Name another one with --port.",
    });
  }
  await listReports(reportsFolder);
  const app = createViewer({ reportsFolder, ...options });
  const ports =
    port === undefined ? Array.from({ length: TRIES }, (_, i) => DEFAULT_PORT + i) : [port];
  for (const one of ports) {
    const server = await listen(app, one, host);
    if (server) return running(server, host);
  }
  const name = port === undefined ? `${ports[0]} to ${ports.at(-1)}` : String(port);
  throw new UsageError(`startViewer: expected a free port, got ${name}, which is in use`, {
    hint: "Close the other program, or name another port with --port.",
  });
}

/** Nothing if the port is taken. */
function listen(app: express.Express, port: number, host: string): Promise<Server | undefined> {
  return new Promise((resolve, reject) => {
    const server = app.listen(port, host);
    server.once("listening", () => resolve(server));
    server.once("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "EADDRINUSE") resolve(undefined);
      else reject(fileError("startViewer", `${host}:${port}`, error));
    });
  });
}

function running(server: Server, host: string): RunningViewer {
  const address = server.address();
  const port = typeof address === "object" && address ? address.port : 0;
  return {
    url: `http://${host}:${port}/`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
