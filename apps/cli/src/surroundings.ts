/** Where a command writes and what may stop it. */
export interface Surroundings {
  readonly out: { write(text: string): unknown };
  readonly err: { write(text: string): unknown; isTTY?: boolean; columns?: number };
  readonly signal: AbortSignal;
}
