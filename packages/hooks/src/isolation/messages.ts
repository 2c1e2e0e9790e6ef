import {
  ArgumentError,
  DataError,
  DownloadError,
  FileError,
  FormatError,
  HookPointError,
  InterruptedError,
  ModelError,
  PenfieldError,
  type Progress,
  ShapeError,
  TokenizerError,
  UsageError,
} from "@penfield/core";
import type { HookedModel } from "../transformer/model.ts";

/** What a child is told to open: a source's name, or a file's bytes. */
export interface OpenCommand {
  readonly source: string | Uint8Array;
  /** Options of `HookedModel`, without functions. */
  readonly options: Readonly<Record<string, unknown>>;
  /** Of a tokenizer that stays with the parent: what running needs to know. */
  readonly tokenizer: { readonly vocabularySize: number; readonly padId: number } | undefined;
}

/** What a child says of the model that it has opened. */
export type Description = Pick<HookedModel, "cfg" | "hookPoints" | "sha256" | "identity">;

/** The methods that are carried out in the child. */
export const methods = ["run", "runWithCache", "runWithInterventions"] as const;

export type Method = (typeof methods)[number];

export type ToChild =
  | { readonly id: number; readonly open: OpenCommand }
  | { readonly id: number; readonly method: Method; readonly args: readonly unknown[] };

export type FromChild =
  | { readonly id: number; readonly value: unknown }
  | { readonly id: number; readonly error: SentError }
  | { readonly id: number; readonly progress: Progress };

/** An error on its way between processes. */
export interface SentError {
  readonly name: string;
  readonly message: string;
  readonly hint: string | undefined;
  readonly stack: string | undefined;
  readonly cause: SentError | undefined;
}

type Constructor = new (
  message: string,
  options?: { hint?: string | undefined; cause?: unknown },
) => PenfieldError;

const classes: Readonly<Record<string, Constructor>> = {
  ArgumentError,
  DataError,
  DownloadError,
  FileError,
  FormatError,
  HookPointError,
  InterruptedError,
  ModelError,
  ShapeError,
  TokenizerError,
  UsageError,
};

const builtIn: Readonly<Record<string, ErrorConstructor>> = { RangeError, SyntaxError, TypeError };

/** An error as plain data. */
export function packError(error: unknown): SentError {
  if (!(error instanceof Error)) {
    return {
      name: "Error",
      message: String(error),
      hint: undefined,
      stack: undefined,
      cause: undefined,
    };
  }
  return {
    name: error.name,
    message: error.message,
    hint: error instanceof PenfieldError ? error.hint : undefined,
    stack: error.stack,
    cause: error.cause === undefined ? undefined : packError(error.cause),
  };
}

/** The error again: of the same class, with the same message, hint, code and stack. */
export function unpackError(sent: SentError): Error {
  const { name, message, hint, stack } = sent;
  const cause = sent.cause && unpackError(sent.cause);
  const own = Object.hasOwn(classes, name) ? classes[name] : undefined;
  const error = own
    ? new own(message, { hint, cause })
    : new (Object.hasOwn(builtIn, name) ? builtIn[name]! : Error)(
        message,
        cause === undefined ? {} : { cause },
      );
  if (!own) error.name = name;
  if (stack !== undefined) error.stack = stack;
  return error;
}
