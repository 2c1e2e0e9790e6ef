import type { InferenceSession } from "onnxruntime-node";

/** Sessions kept compiled. Weights lie in the model's file, mapped once; with `prepack` each session holds a copy. */
const MAX_SESSIONS = 8;
const MAX_SESSION_BYTES = 2 * 2 ** 30;

/** A session that somebody uses; it is not given up before it is let go. */
export interface HeldSession {
  readonly session: InferenceSession;
  release(): void;
}

interface Entry {
  readonly session: Promise<InferenceSession>;
  users: number;
}

/** Compiled sessions by what they can do; those used longest ago are given up first. */
export class SessionPool {
  readonly #sessions = new Map<string, Entry>();
  readonly #limit: number;

  /** @param bytesEach - Memory that each session holds of its own. */
  constructor(bytesEach: number) {
    const fitting = Math.floor(MAX_SESSION_BYTES / Math.max(1, bytesEach));
    this.#limit = Math.max(1, Math.min(MAX_SESSIONS, fitting));
  }

  /** The session under this key, compiled if there is none. A failure is not kept. */
  async hold(key: string, compile: () => Promise<InferenceSession>): Promise<HeldSession> {
    let found = this.#sessions.get(key);
    // Put back at the end: the order is that of last use.
    if (found) this.#sessions.delete(key);
    else {
      await this.#makeRoom();
      found = { session: compile(), users: 0 };
    }
    const entry = found;
    this.#sessions.set(key, entry);
    entry.users++;
    try {
      const session = await entry.session;
      return { session, release: () => entry.users-- };
    } catch (error) {
      this.#sessions.delete(key);
      throw error;
    }
  }

  async #makeRoom(): Promise<void> {
    const idle = [...this.#sessions].filter(([, { users }]) => users === 0);
    for (const [key, { session }] of idle.slice(0, this.#sessions.size + 1 - this.#limit)) {
      this.#sessions.delete(key);
      await (await session).release();
    }
  }

  async dispose(): Promise<void> {
    const entries = [...this.#sessions.values()];
    this.#sessions.clear();
    for (const { session } of entries) {
      await session.then((s) => s.release()).catch(() => undefined);
    }
  }
}
