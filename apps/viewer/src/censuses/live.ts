import { PenfieldError } from "@penfield/core";

/** What a model gives for a text: each token, and the values of one unit. */
export interface LiveActivations {
  readonly tokens: readonly string[];
  readonly values: ArrayLike<number>;
  /** SHA-256 of the model's file: the census may be of another one. */
  readonly sha256: string;
  /** What the model loses without this unit; absent where it predicts no tokens. */
  readonly silenced?: LiveLesion | undefined;
}

/** One unit set to zero at every token of a text, beside other units of its hook point. */
export interface LiveLesion {
  /** Of each token given those before, in nats, with nothing silenced; NaN where nothing stands before. */
  readonly logProbs: ArrayLike<number>;
  /** The same with the unit silenced. */
  readonly silencedLogProbs: ArrayLike<number>;
  /** Units drawn at random, each silenced alone: mean change over the tokens. */
  readonly others: readonly number[];
}

/** Runs a model on a text, in a process of its own; whoever starts the viewer gives it. */
export interface LiveModel {
  /** As it was named by the user. */
  readonly name: string;
  activations(request: {
    readonly text: string;
    readonly hook: string;
    readonly index: number;
    readonly signal: AbortSignal;
  }): Promise<LiveActivations>;
}

export type LiveResult =
  | { readonly text: string; readonly problem: string; readonly hint?: string | undefined }
  | {
      readonly text: string;
      readonly tokens: readonly string[];
      readonly values: readonly number[];
      /** Whether the model is the census's. */
      readonly same: boolean;
      readonly silenced: ShownLesion | undefined;
    };

/** What silencing one unit does to the tokens of a text. */
export interface ShownLesion {
  /** Of each token, in nats; null where nothing stands before it. */
  readonly logProbs: readonly (number | null)[];
  /** With the unit silenced minus without; below 0 the token is less expected. */
  readonly changes: readonly (number | null)[];
  readonly meanChange: number | null;
  /** The same of single random units of its hook point. */
  readonly others: readonly number[];
}

/** Longest text, in characters. */
export const MAX_TEXT = 2000;
/** The first text waits until the model is open. */
const TIMEOUT_SECONDS = 60;
/** Texts that wait for their turn; more are turned away. */
const MAX_WAITING = 4;

/** A model for texts that readers type: what goes wrong with it becomes a message on their page. */
export class LiveRunner {
  readonly #model: LiveModel;
  readonly #timeoutSeconds: number;
  #nWaiting = 0;

  constructor(model: LiveModel, timeoutSeconds: number = TIMEOUT_SECONDS) {
    this.#model = model;
    this.#timeoutSeconds = timeoutSeconds;
  }

  async run(text: string, hook: string, index: number, sha256: string): Promise<LiveResult> {
    if (text.length > MAX_TEXT) {
      const problem = `The text has ${text.length} characters; at most ${MAX_TEXT} are taken.`;
      return { text: text.slice(0, MAX_TEXT), problem };
    }
    if (this.#nWaiting >= MAX_WAITING) {
      return { text, problem: "Other texts are waiting for the model. Try again in a moment." };
    }
    this.#nWaiting++;
    const stop = new AbortController();
    let timer: NodeJS.Timeout | undefined;
    try {
      const late = new Promise<never>((_, reject) => {
        timer = setTimeout(() => {
          reject(new Error(`The model gave no answer within ${this.#timeoutSeconds} s.`));
          stop.abort();
        }, 1000 * this.#timeoutSeconds);
      });
      const work = this.#model.activations({ text, hook, index, signal: stop.signal });
      // Stopped too late, it must not end the viewer.
      work.catch(() => {});
      const { tokens, values, sha256: own, silenced } = await Promise.race([work, late]);
      return {
        text,
        tokens,
        values: Array.from(values, (value) => Number(value.toPrecision(6))),
        same: own === sha256,
        silenced: silenced && shownLesion(silenced),
      };
    } catch (error) {
      return {
        text,
        problem: `${this.#model.name} could not read this text: ${error instanceof Error ? error.message : String(error)}`,
        hint: error instanceof PenfieldError ? error.hint : undefined,
      };
    } finally {
      clearTimeout(timer);
      this.#nWaiting--;
    }
  }
}

function shownLesion({ logProbs, silencedLogProbs, others }: LiveLesion): ShownLesion {
  const finite = (value: number): number | null =>
    Number.isFinite(value) ? Number(value.toPrecision(6)) : null;
  const changes = Array.from(logProbs, (plain, i) => finite(silencedLogProbs[i]! - plain));
  const known = changes.filter((change) => change !== null);
  return {
    logProbs: Array.from(logProbs, finite),
    changes,
    meanChange:
      known.length === 0 ? null : known.reduce((sum, change) => sum + change, 0) / known.length,
    others: others.filter(Number.isFinite),
  };
}
