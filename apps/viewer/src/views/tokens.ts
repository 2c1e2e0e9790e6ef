import type { ShownContext } from "../censuses/unitRecord.ts";
import { fixed, short } from "../format.ts";
import { type Html, html } from "../html.ts";

/** From this share of the largest value on, a token has its value beside it. */
const WITH_VALUE = 0.3;
const N_LEVELS = 5;

const symbols: Readonly<Record<string, string>> = {
  "\n": "↵",
  "\r": "␍",
  "\t": "→",
  "\u00a0": "⍽",
};

/**
 * A token with its white space to be seen: line ends, tabs and unusual spaces as symbols, and spaces as "␣"; within running text a
 * single space before a word stays one.
 */
export function visibleToken(token: string, running = false): string {
  const body = running && /^ [^\s]/.test(token) ? token.slice(1) : token;
  const shown = body.replace(/\s/gu, (sign) => symbols[sign] ?? "␣");
  return body === token ? shown : ` ${shown}`;
}

/** A token by itself, as in a list. */
export const tokenCode = (token: string): Html =>
  token === ""
    ? html`<code>(empty)</code>`
    : html`<code class="token">${visibleToken(token)}</code>`;

/** From which value a token is marked, and how dark. */
export interface Scale {
  /** Marked above this. */
  readonly threshold: number;
  /** The darkest mark. */
  readonly max: number;
  /** Shades and numbers begin here; default the threshold. */
  readonly from?: number;
  /** The darkest mark is the largest value of each stretch. */
  readonly each?: boolean;
}

/** A stretch of text, its active tokens marked: the stronger the darker, and the stronger ones with their values. */
export function contextText(
  { tokens, values, peak }: Pick<ShownContext, "tokens" | "values" | "peak">,
  scale: Scale,
): Html {
  const { threshold, from = threshold, each = false } = scale;
  const max = each ? (values ?? []).reduce((a, b) => Math.max(a, b), threshold) : scale.max;
  return html`${tokens.map((token, i) => {
    const value = values?.[i];
    const isPeak = i === peak;
    const text = visibleToken(token, true);
    const space = text.startsWith(" ") ? " " : "";
    const body = text.slice(space.length);
    if (value === undefined || (!(value > threshold) && !isPeak)) {
      return isPeak ? html`${space}<mark class="m0">${body}</mark>` : text;
    }
    const share = max > from ? (value - from) / (max - from) : 0;
    // Where a unit is active nearly everywhere, marks on all tokens would show nothing.
    if (share <= 0 && !isPeak && from > threshold) return text;
    const level = Math.max(0, Math.min(N_LEVELS, Math.ceil(share * N_LEVELS)));
    return html`${space}<mark class="m${level}">${body}${(isPeak || share >= WITH_VALUE) && html`<sub>${short(value, 2)}</sub>`}</mark>`;
  })}`;
}

/** A list of contexts, each with the document it is from, the value it was chosen for, and an address of its own. */
export function contextList(contexts: readonly ShownContext[], scale: Scale, name?: string): Html {
  return html`<ol class="contexts">${contexts.map((context, i) => {
    const place = html`${context.document}, token ${context.from + context.peak + 1}`;
    return html`<li${name !== undefined && html` id="${name}-${i + 1}"`}><p>${contextText(context, scale)}</p><small>${context.value !== null && `${fixed(context.value, 2)} · `}${name === undefined ? place : html`<a class="quiet" href="#${name}-${i + 1}">${place}</a>`}</small></li>`;
  })}</ol>`;
}
