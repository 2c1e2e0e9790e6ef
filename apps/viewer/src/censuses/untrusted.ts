/** Reads fields of JSON whose form nobody has checked: what is of another type is absent. */
export type Fields = Readonly<Record<string, unknown>>;

export const fieldsOf = (value: unknown): Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Fields) : {};

export const numberOf = (value: unknown): number | null =>
  typeof value === "number" && Number.isFinite(value) ? value : null;

export const textOf = (value: unknown, max = 400): string | null =>
  typeof value === "string" ? value.slice(0, max) : null;

export const listOf = (value: unknown, max = 100): readonly unknown[] =>
  Array.isArray(value) ? value.slice(0, max) : [];
