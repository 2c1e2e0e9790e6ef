import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** A question as the server got it. */
export interface FakeRequest {
  readonly url: string;
  readonly authorization: string | undefined;
  readonly system: string;
  readonly user: string;
  readonly body: Record<string, unknown>;
}

/** An endpoint on this machine that answers as a test wants it. */
export interface FakeServer {
  readonly baseURL: string;
  readonly requests: readonly FakeRequest[];
  close(): Promise<void>;
}

/** For the tests: starts a server; `answer` gets each question with its number. */
export async function fakeServer(
  answer: (request: FakeRequest, response: ServerResponse, n: number) => void,
): Promise<FakeServer> {
  const requests: FakeRequest[] = [];
  const server = createServer((incoming, response) => {
    void readBody(incoming).then((text) => {
      const body = JSON.parse(text) as { messages: { role: string; content: string }[] };
      const said = (role: string) =>
        body.messages.find((message) => message.role === role)?.content ?? "";
      const { url = "", headers } = incoming;
      requests.push({
        url,
        authorization: headers.authorization,
        system: said("system"),
        user: said("user"),
        body: body as unknown as Record<string, unknown>,
      });
      answer(requests.at(-1)!, response, requests.length - 1);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    baseURL: `http://127.0.0.1:${port}/v1`,
    requests,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function readBody(incoming: IncomingMessage): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of incoming) chunks.push(chunk as Uint8Array);
  return Buffer.concat(chunks).toString("utf8");
}

/** A completion as a server writes it. */
export function complete(
  response: ServerResponse,
  content: string,
  extra: { usage?: object; logprobs?: object } = {},
): void {
  const { usage = { prompt_tokens: 100, completion_tokens: 10 }, logprobs } = extra;
  response.setHeader("content-type", "application/json");
  response.end(
    JSON.stringify({
      choices: [{ index: 0, message: { role: "assistant", content }, logprobs: logprobs ?? null }],
      usage,
    }),
  );
}

/** A description that names words in quotes, read as "active on these": what a good judge would answer to a prompt of the package. */
export function literalAnswer({ user }: FakeRequest): string {
  const [, description = ""] = /\nDESCRIPTION\n(.*)\n/.exec(user) ?? [];
  const words = new Set(Array.from(description.matchAll(/'([^']+)'/g), ([, word]) => word!));
  const list = /\nTOKENS, a JSON list.*\n(.*)\nEND /.exec(user)?.[1];
  if (list !== undefined) {
    const tokens = JSON.parse(list) as string[];
    return JSON.stringify(tokens.map((token) => (words.has(token.trim()) ? 8 : 0)));
  }
  const lines = /JSON string.*\n([\s\S]*)\nEND /.exec(user)![1]!.split("\n");
  const marks = user.includes("marked tokens stand between");
  const judged = lines.map((line) => {
    const text = marks ? Array.from(line.matchAll(/<<(.*?)>>/g), ([, own]) => own).join(" ") : line;
    const found = text.split(/[^A-Za-z]+/).some((word) => words.has(word));
    return found ? 1 : 0;
  });
  return JSON.stringify(judged);
}

/** What a good explainer would say of evidence: the tokens that are active most often, in quotes. */
export function literalExplanation({ user }: FakeRequest): string {
  const [, contexts = ""] = /\nACTIVE\n([\s\S]*?)\n\nSILENT/.exec(user) ?? [];
  const counts = new Map<string, number>();
  for (const [, token] of contexts.matchAll(/<<(.*?)>>/g)) {
    const word = token!.trim();
    counts.set(word, (counts.get(word) ?? 0) + 1);
  }
  const ranked = [...counts].sort((a, b) => b[1] - a[1]);
  const most = ranked[0]?.[1] ?? 0;
  const named = ranked.filter(([, count]) => count > 0.3 * most).slice(0, 4);
  return JSON.stringify({ explanations: [`active on ${named.map(([w]) => `'${w}'`).join(", ")}`] });
}
