import type { Request } from "express";

export type Query = Readonly<Record<string, string>>;

/** Each key of the query once, as text. */
export function queryOf(request: Request): Query {
  return Object.fromEntries(
    Object.entries(request.query).map(([key, value]) => {
      const first = Array.isArray(value) ? value[0] : value;
      return [key, typeof first === "string" ? first : ""];
    }),
  );
}

/** An address with a query in the order given, without what is empty. */
export function addressWith(path: string, query: Readonly<Record<string, string>>): string {
  const text = Object.entries(query)
    .filter(([, value]) => value !== "")
    .map(([name, value]) => `${name}=${encodeURIComponent(value)}`)
    .join("&");
  return `${path}${text && `?${text}`}`;
}
