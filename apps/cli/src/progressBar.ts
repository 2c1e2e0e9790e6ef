import type { OnProgress, Progress } from "@penfield/core";

const WIDTH = 28;
/** Without a terminal, a line now and then. */
const LINE_EVERY_SECONDS = 15;

/** Shows progress with an estimate of the time that is left. */
export interface ProgressBar {
  readonly onProgress: OnProgress;
  /** Clears the line. */
  finish(): void;
}

/** "7 s", "3 min 20 s", "1 h 05 min". */
export function formatSeconds(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, "0")} s`;
  return `${Math.floor(whole / 3600)} h ${String(Math.floor((whole % 3600) / 60)).padStart(2, "0")} min`;
}

/**
 * A progress bar on a stream: redrawn in place on a terminal, otherwise a line every 15 seconds.
 *
 * @param now - Seconds; for tests.
 */
export function createProgressBar(
  stream: { write(text: string): unknown; isTTY?: boolean; columns?: number },
  now: () => number = () => performance.now() / 1000,
): ProgressBar {
  let stage = "";
  let stageStart = 0;
  let lastLine = Number.NEGATIVE_INFINITY;
  let shown = false;
  const describe = ({ done, total, unit }: Progress): string => {
    const share = total > 0 ? Math.min(1, done / total) : 0;
    const elapsed = now() - stageStart;
    const left =
      share > 0.02 && share < 1
        ? `, about ${formatSeconds((elapsed / share) * (1 - share))} left`
        : "";
    const amount =
      unit === "bytes"
        ? `${(done / 1e6).toFixed(0)} of ${(total / 1e6).toFixed(0)} MB`
        : `${Math.floor(done)} of ${total} ${unit}`;
    return `${Math.round(100 * share)} % (${amount}${left})`;
  };
  return {
    onProgress(progress) {
      const time = now();
      if (progress.stage !== stage) {
        stage = progress.stage;
        stageStart = time;
        lastLine = Number.NEGATIVE_INFINITY;
      }
      const share = progress.total > 0 ? Math.min(1, progress.done / progress.total) : 0;
      if (stream.isTTY) {
        const filled = Math.round(share * WIDTH);
        const bar = "█".repeat(filled) + "░".repeat(WIDTH - filled);
        const line = `${bar} ${stage}: ${describe(progress)}`;
        stream.write(`\r\u001b[2K${line.slice(0, (stream.columns ?? 100) - 1)}`);
        shown = true;
      } else if (
        time - lastLine >= LINE_EVERY_SECONDS ||
        (share === 1 && lastLine > Number.NEGATIVE_INFINITY)
      ) {
        stream.write(`${stage}: ${describe(progress)}\n`);
        lastLine = time;
      }
    },
    finish() {
      if (shown) stream.write("\r\u001b[2K");
      shown = false;
    },
  };
}
