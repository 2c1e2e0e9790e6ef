import { randomBytes } from "node:crypto";
import type { Server } from "node:http";
import { isIPv6 } from "node:net";
import { hostname } from "node:os";
import { fileError, UsageError } from "@penfield/core";
import { listReports } from "@penfield/report";
import type express from "express";
import { createViewer, type ViewerOptions } from "./app.ts";

/** Where the viewer listens if nobody says otherwise; the next free one of twenty is taken. */
const DEFAULT_PORT = 4747;
const TRIES = 20;

/** A viewer that answers until it is closed. */
export interface RunningViewer {
  /** "http://127.0.0.1:4747/"; with a token, the address that has it. */
  readonly url: string;
  close(): Promise<void>;
}

/** Addresses that no other machine can reach. */
const LOCAL = ["127.0.0.1"];

/**
 * Starts the viewer.
 *
 * @param options.reportsFolder - A folder of reports, or one report; it must exist.
 * @param options.port - Exactly this one. Without it, 4747 or the next free one; 0 leaves the choice to the system.
 * @param options.host - The address to listen on; default 127.0.0.1, which no other machine can reach. On any other one whoever asks must
 *   have a token. What is sent is not encrypted: an SSH tunnel to 127.0.0.1 is the safer way.
 * @param options.token - At least 16 letters, digits, `-` or `_`; default on other addresses than 127.0.0.1: 24 random ones.
 * @throws {FileError} if the folder cannot be read.
 * @throws {UsageError} if the port is taken, this machine has no such address, or the token is too short.
 */
export async function startViewer({
  reportsFolder,
  port,
  host = "127.0.0.1",
  token = LOCAL.includes(host) ? undefined : randomBytes(18).toString("base64url"),
  ...options
}: ViewerOptions & {
  readonly port?: number | undefined;
  readonly host?: string | undefined;
}): Promise<RunningViewer> {
  if (token !== undefined && !/^[\w-]{16,200}$/.test(token)) {
    throw new UsageError(
      "startViewer: expected a token of at least 16 letters, digits, - or _, got another one",
    );
  }
  if (port !== undefined && !(Number.isInteger(port) && port >= 0 && port <= 65535)) {
    throw new UsageError(`startViewer: expected a port within 0..65535, got ${port}`, {
      hint: "Name another one with --port.",
    });
  }
  await listReports(reportsFolder);
  const app = createViewer({ reportsFolder, token, ...options });
  const ports =
    port === undefined ? Array.from({ length: TRIES }, (_, i) => DEFAULT_PORT + i) : [port];
  for (const one of ports) {
    const server = await listen(app, one, host);
    if (server) return running(server, host, token);
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
      else if (["EADDRNOTAVAIL", "ENOTFOUND", "EAI_AGAIN"].includes(error.code ?? "")) {
        reject(
          new UsageError(`startViewer: expected an address of this machine, got ${host}`, {
            hint: "127.0.0.1 is this machine alone; 0.0.0.0 all of its addresses.",
          }),
        );
      } else reject(fileError("startViewer", `${host}:${port}`, error));
    });
  });
}

function running(server: Server, host: string, token: string | undefined): RunningViewer {
  const address = server.address();
  const port = typeof address === "object" && address ? address.port : 0;
  const name = host === "0.0.0.0" || host === "::" ? hostname() : isIPv6(host) ? `[${host}]` : host;
  return {
    url: `http://${name}:${port}/${token === undefined ? "" : `?token=${token}`}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
