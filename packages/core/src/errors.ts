/**
 * The one base class of every error that Penfield throws on purpose. Callers catch by class or by
 * `code`; the command line prints message, hint and code; the viewer maps codes to HTTP states.
 *
 * Messages follow one grammar: `"<function>: expected <rule>, got <value>"`; what to do about it is the hint.
 */
export abstract class PenfieldError extends Error {
  /** Stable, documented in docs/errors.md. */
  abstract readonly code: string;
  /** What the user can do, as one sentence. */
  readonly hint: string | undefined;

  constructor(message: string, options: { hint?: string | undefined; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.name = new.target.name;
    this.hint = options.hint;
  }
}

/** Sizes or axes that do not fit each other. */
export class ShapeError extends PenfieldError {
  readonly code = "ERR_SHAPE";
}

/** A value outside the allowed set. */
export class ArgumentError extends PenfieldError {
  readonly code = "ERR_ARGUMENT";
}

/** A file whose bytes are not what its format promises. */
export class FormatError extends PenfieldError {
  readonly code = "ERR_FORMAT";
}

/** A model that cannot be opened, run or understood. */
export class ModelError extends PenfieldError {
  readonly code = "ERR_MODEL";
}

/** A hook point that the model does not have, or that cannot do what was asked of it. */
export class HookPointError extends PenfieldError {
  readonly code = "ERR_HOOK_POINT";
}

/** Text that cannot be turned into the model's tokens. */
export class TokenizerError extends PenfieldError {
  readonly code = "ERR_TOKENIZER";
}

/** Stimuli, tasks or recordings that cannot carry the analysis asked of them. */
export class DataError extends PenfieldError {
  readonly code = "ERR_DATA";
}

/** A file or folder that cannot be read or written as asked. */
export class FileError extends PenfieldError {
  readonly code = "ERR_FILE";
}

/** A download that failed or brought something else than was asked for. */
export class DownloadError extends PenfieldError {
  readonly code = "ERR_DOWNLOAD";
}

/** The user, or the caller's AbortSignal, stopped the work. What was finished is kept. */
export class InterruptedError extends PenfieldError {
  readonly code = "ERR_INTERRUPTED";
}

/** A command line that cannot be understood; exit code 2. */
export class UsageError extends PenfieldError {
  readonly code = "ERR_USAGE";
}

/** Throws InterruptedError if the signal has fired; call it between two pieces of long work. */
export function throwIfAborted(signal: AbortSignal | undefined, doing: string): void {
  if (signal?.aborted) {
    throw new InterruptedError(`${doing}: interrupted`, {
      hint: "Finished parts are kept; run the same command with --resume to go on.",
    });
  }
}
