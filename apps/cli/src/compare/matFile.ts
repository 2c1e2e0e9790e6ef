import { DataError, FormatError } from "@penfield/core";
import { type MatValue, matNumbers, matText, readMat } from "@penfield/recordings";

/** An array of a MATLAB file, with the names of its RDMs where it is a struct of them. */
export interface MatArray {
  readonly data: Float64Array;
  readonly shape: readonly number[];
  readonly names?: readonly string[] | undefined;
}

/** Fields of a struct that hold dissimilarities, as MATLAB's RSA toolbox writes them. */
const RDM_FIELDS = ["RDM", "rdm", "RDMs", "rdms"];

/**
 * Reads one variable of a MATLAB file: numbers, or a struct array with a field RDM, whose elements become a stack.
 * Matrices that MATLAB stacks along the last axis, `[n, n, k]`, become `[k, n, n]`; rows and columns become lists.
 *
 * @param key - The variable; the only one of its kind if left out.
 * @throws {FormatError} if it is no MATLAB file, or no one variable that it could be.
 * @throws {DataError} if the RDMs of a struct differ in size.
 * @throws {FileError} if it cannot be read.
 */
export async function readMatArray(
  verb: string,
  file: string,
  key: string | undefined,
): Promise<MatArray> {
  const variables = await readMat(file, { doing: verb, ...(key ? { variables: [key] } : {}) });
  const found = [...variables].flatMap(([name, value]) => {
    const array = arrayOf(value, `${verb}: ${file}: ${name}`);
    return array ? [[name, array] as const] : [];
  });
  // Scalars are settings that were saved along.
  const arrays = key ? found : found.filter(([, { data }]) => data.length > 1);
  if (arrays.length === 1) return arrays[0]![1];
  const got =
    key === undefined ? `${arrays.length} of them` : `no such variable ${JSON.stringify(key)}`;
  const names = arrays.map(([name]) => name);
  throw new FormatError(`${verb}: ${file}: expected one variable of numbers or RDMs, got ${got}`, {
    hint:
      names.length === 0
        ? "Variables are numbers, or structs with a field RDM."
        : `Name one after a colon, as in ${file}:${names[0]}. It has ${names.slice(0, 20).join(", ")}.`,
  });
}

function arrayOf(value: MatValue, where: string): MatArray | undefined {
  if (value.kind === "struct") return rdmsOf(value.data, where);
  const data = matNumbers(value);
  if (!data || value.kind === "unread") return undefined;
  const { shape } = value;
  if (shape.length === 2 && (shape[0] === 1 || shape[1] === 1)) {
    return { data, shape: [data.length] };
  }
  const [n, m, k] = shape;
  if (shape.length !== 3 || n !== m || k === m) return { data, shape };
  const stacked = new Float64Array(data.length);
  for (let at = 0; at < n! * n!; at++) {
    for (let i = 0; i < k!; i++) stacked[i * n! * n! + at] = data[at * k! + i]!;
  }
  return { data: stacked, shape: [k!, n!, n!] };
}

function rdmsOf(
  records: readonly ReadonlyMap<string, MatValue>[],
  where: string,
): MatArray | undefined {
  const field = RDM_FIELDS.find((name) => records.every((record) => record.has(name)));
  if (field === undefined || records.length === 0) return undefined;
  const parts = records.map((record) => arrayOf(record.get(field)!, where));
  const { shape } = parts[0] ?? { shape: [] };
  for (const part of parts) {
    if (!part || part.shape.length > 2 || part.shape.join() !== shape.join()) {
      throw new DataError(
        `${where}: expected RDMs of one size in the field ${field}, got [${shape.join(", ")}] and ${part ? `[${part.shape.join(", ")}]` : "no numbers"}`,
      );
    }
  }
  const size = parts[0]!.data.length;
  const data = new Float64Array(size * parts.length);
  parts.forEach((part, i) => {
    data.set(part!.data, i * size);
  });
  const names = records.map((record, i) => matText(record.get("name")) || `${i + 1}`);
  return { data, shape: [parts.length, ...shape], names };
}
