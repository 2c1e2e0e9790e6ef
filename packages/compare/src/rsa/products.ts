import { createLinalg, type Linalg } from "@penfield/linalg";

/** Where products are computed. */
export interface UsesLinalg {
  /** Default: one made for this call and freed after it. Pass one when calling often. */
  readonly linalg?: Linalg | undefined;
}

/** Runs work with the products given, or with its own. */
export async function withLinalg<T>(
  given: Linalg | undefined,
  work: (linalg: Linalg) => Promise<T>,
): Promise<T> {
  if (given) return work(given);
  const own = createLinalg();
  try {
    return await work(own);
  } finally {
    await own.dispose();
  }
}
