import { FormatError } from "@penfield/core";
import sax from "sax";

/** An element of an XML document. */
export interface XmlElement {
  readonly name: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly children: readonly XmlElement[];
  /** All text directly inside it, joined. */
  readonly text: string;
}

interface OpenElement extends XmlElement {
  readonly children: OpenElement[];
  text: string;
}

const LARGEST_DEPTH = 32;
const MOST_ELEMENTS = 2_000_000;

/** Part of the text that the parser takes at once. */
const PIECE = 1 << 20;

/**
 * Parses XML, with bounds: no entities of its own are allowed (so nothing unfolds), no more than 32
 * levels and two million elements.
 *
 * @param keepText - Whether text is kept; without, the tree only shows that the document is sound.
 * @throws {FormatError} with the position in the text.
 */
export function parseXml(
  text: string,
  { file, doing, keepText = true }: { file: string; doing: string; keepText?: boolean },
): XmlElement {
  const parser = sax.parser(true, { position: true });
  const wrong = (expected: string, got: string, cause?: unknown): FormatError =>
    new FormatError(
      `${doing}: ${file}: offset ${parser.position} of the XML: expected ${expected}, got ${got}`,
      { cause },
    );
  const open: OpenElement[] = [];
  let root: OpenElement | undefined;
  let nElements = 0;
  parser.onopentag = ({ name, attributes }) => {
    if (++nElements > MOST_ELEMENTS) {
      throw wrong(`at most ${MOST_ELEMENTS} elements`, "more");
    }
    if (open.length >= LARGEST_DEPTH) throw wrong(`at most ${LARGEST_DEPTH} levels`, "more");
    const element: OpenElement = {
      name,
      attributes: attributes as Record<string, string>,
      children: [],
      text: "",
    };
    open.at(-1)?.children.push(element);
    root ??= element;
    open.push(element);
  };
  parser.onclosetag = () => {
    open.pop();
  };
  const add = (piece: string) => {
    const element = open.at(-1);
    if (keepText && element) element.text += piece;
  };
  parser.ontext = add;
  parser.oncdata = add;
  parser.ondoctype = (doctype) => {
    if (doctype.includes("<!ENTITY")) throw wrong("no entities of the document's own", "<!ENTITY");
  };
  parser.onerror = (cause) => {
    throw wrong("well-formed XML", cause.message.split("\n")[0]!, cause);
  };
  for (let at = 0; at < text.length; at += PIECE) parser.write(text.slice(at, at + PIECE));
  parser.close();
  if (root === undefined) throw wrong("an element", "none");
  return root;
}

/** The element's children of this name. */
export const childrenOf = (element: XmlElement, name: string): readonly XmlElement[] =>
  element.children.filter((child) => child.name === name);

/** Whole numbers or decimals apart by white space. */
export function numbersIn(text: string): readonly number[] {
  const trimmed = text.trim();
  return trimmed === "" ? [] : trimmed.split(/\s+/).map(Number);
}
