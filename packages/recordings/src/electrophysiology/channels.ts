import { ArgumentError, DataError } from "@penfield/core";
import type { Target } from "../types.ts";

/** Which channels of a file become targets. */
export interface ChannelOptions {
  /**
   * `data` (default): what measures the brain (magnetometers, gradiometers, EEG, SEEG, ECoG, DBS, fNIRS), or everything
   * where the file has none of these; `all`; or names and kinds (`["mag", "EOG 061"]`).
   */
  readonly channels?: "data" | "all" | readonly string[] | undefined;
  /** Whether channels that the file marks as bad stay. Default false. */
  readonly keepBads?: boolean | undefined;
}

/** A channel of any format. */
export interface Channel {
  readonly name: string;
  readonly kind: string | undefined;
  readonly unit: string | undefined;
  readonly position?: readonly [number, number, number] | undefined;
  readonly isBad?: boolean | undefined;
}

const DATA_KINDS: ReadonlySet<string | undefined> = new Set([
  "mag",
  "grad",
  "eeg",
  "seeg",
  "ecog",
  "dbs",
  "fnirs",
]);

/**
 * Indices of the channels that are wanted, in the file's order.
 *
 * @throws {ArgumentError} if a name or kind is none of the file's.
 * @throws {DataError} if nothing is left.
 */
export function pickChannels(
  channels: readonly Channel[],
  { channels: wanted = "data", keepBads = false }: ChannelOptions,
  where: string,
): number[] {
  const hasData = channels.some(({ kind }) => DATA_KINDS.has(kind));
  if (Array.isArray(wanted)) {
    for (const word of wanted as readonly string[]) {
      if (channels.some(({ name, kind }) => name === word || kind === word)) continue;
      const kinds = [...new Set(channels.map(({ kind }) => kind ?? "unknown"))].join(", ");
      throw new ArgumentError(
        `${where}: expected names or kinds of its channels, got ${JSON.stringify(word)}`,
        {
          hint: `Its kinds are ${kinds}; its first channels ${channels
            .slice(0, 5)
            .map(({ name }) => name)
            .join(", ")}.`,
        },
      );
    }
  }
  const isWanted = ({ name, kind }: Channel): boolean => {
    if (wanted === "all") return true;
    if (wanted === "data") return !hasData || DATA_KINDS.has(kind);
    return wanted.includes(name) || (kind !== undefined && wanted.includes(kind));
  };
  const picks = channels.flatMap((channel, i) =>
    isWanted(channel) && (keepBads || !channel.isBad) ? [i] : [],
  );
  if (picks.length === 0) {
    throw new DataError(`${where}: expected channels that are wanted and not bad, got none`, {
      hint: "keepBads keeps channels that the file marks as bad.",
    });
  }
  return picks;
}

/** Targets, and the unit that most of them share. */
export function targetsOf(
  channels: readonly Channel[],
  picks: readonly number[],
): { targets: Target[]; unit: string | undefined } {
  const counts = new Map<string | undefined, number>();
  for (const i of picks) {
    const { unit } = channels[i]!;
    counts.set(unit, (counts.get(unit) ?? 0) + 1);
  }
  const [[unit] = [undefined]] = [...counts].sort((a, b) => b[1] - a[1]);
  const seen = new Map<string, number>();
  const targets = picks.map((i): Target => {
    const { name, kind, unit: own, position } = channels[i]!;
    // Ids are unique; names in files need not be.
    const times = (seen.get(name) ?? 0) + 1;
    seen.set(name, times);
    const id = times === 1 ? name : `${name} (${times})`;
    return { id, kind, position, unit: own === unit ? undefined : own };
  });
  return { targets, unit };
}
