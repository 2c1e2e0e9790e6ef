import { createHash, timingSafeEqual } from "node:crypto";
import type { NextFunction, Request, Response } from "express";
import { errorPage } from "./views/parts.ts";

const HEADERS = {
  "Content-Security-Policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  "X-Content-Type-Options": "nosniff",
  "Referrer-Policy": "no-referrer",
  "Cross-Origin-Resource-Policy": "same-origin",
  "Cross-Origin-Opener-Policy": "same-origin",
  "X-Frame-Options": "DENY",
  "Cache-Control": "no-cache",
} as const;

/** Sets the headers of every answer, and refuses what its reader would not send. */
export function guard(token: string | undefined) {
  return (request: Request, response: Response, next: NextFunction): void => {
    response.set(HEADERS);
    const refused =
      token === undefined ? !isLocal(request, response) : !hasToken(request, response, token);
    if (refused) return;
    if (request.method !== "GET" && request.method !== "HEAD") {
      response.status(405).set("Allow", "GET, HEAD");
      response.send(errorPage("Reading only", "This viewer changes nothing, and takes no input."));
    } else next();
  };
}

/** Without a token, only requests to this machine by name: a page from elsewhere can make its own name point here, and the Host header gives it away. */
function isLocal(request: Request, response: Response): boolean {
  const port = request.socket.localPort;
  const allowed = ["127.0.0.1", "localhost"].flatMap((name) =>
    port === 80 ? [name, `${name}:80`] : [`${name}:${port}`],
  );
  if (allowed.includes((request.headers.host ?? "").toLowerCase())) return true;
  const text = `Open http://127.0.0.1:${port}/ instead.`;
  response
    .status(403)
    .send(errorPage("Not this way", "This viewer answers on this machine only.", text));
  return false;
}

/** The token comes once in the address, and then in a cookie, so that it does not stand in addresses that are passed on. */
function hasToken(request: Request, response: Response, token: string): boolean {
  // Cookies do not tell ports apart.
  const name = `penfield-${request.socket.localPort}`;
  const held = (request.headers.cookie ?? "")
    .split(";")
    .map((pair) => pair.trim().split("="))
    .find(([key]) => key === name)?.[1];
  if (held !== undefined && isSame(held, token)) return true;
  const given = request.query["token"];
  if (typeof given === "string" && isSame(given, token)) {
    const { pathname, searchParams } = new URL(request.originalUrl, "http://viewer");
    searchParams.delete("token");
    response.set("Set-Cookie", `${name}=${token}; HttpOnly; SameSite=Lax; Path=/`);
    // Two slashes would lead to another place.
    const path = pathname.replace(/^\/+/, "/");
    response.redirect(303, `${path}${searchParams.size > 0 ? `?${searchParams}` : ""}`);
    return false;
  }
  response
    .status(401)
    .send(
      errorPage(
        "This viewer asks for a token",
        "Open the address that it printed when it was started.",
      ),
    );
  return false;
}

/** In the same time wherever they differ. */
const isSame = (a: string, b: string): boolean => timingSafeEqual(digest(a), digest(b));
const digest = (text: string): Buffer => createHash("sha256").update(text).digest();
