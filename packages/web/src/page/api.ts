import type {
  ApiError,
  ChangesAnswer,
  ClusterEvent,
  DropsAnswer,
  Explanation,
  FindAnswer,
  FlowRows,
  Hello,
  MapAnswer,
  NodesAnswer,
  Timeline,
  ValuesAnswer,
  WhyEmpty,
  WorkloadAnswer,
} from '../contract.ts';
import { readToken } from './token.ts';

/** The parameters of a request; undefined ones are left out. */
export type Parameters = Readonly<Record<string, string | number | undefined>>;

/** The error of a request that the relay refuses, with its status, its code and, of the filter, the word's index. */
export class RequestError extends Error {
  readonly status: number;
  readonly code: ApiError['error']['code'];
  readonly word: number | undefined;

  constructor(status: number, { code, text, word }: ApiError['error']) {
    super(text);
    this.status = status;
    this.code = code;
    this.word = word;
  }
}

/** The answer to each kind of request. */
interface Answers {
  readonly hello: Hello;
  readonly map: MapAnswer;
  readonly timeline: Timeline;
  readonly drops: DropsAnswer;
  readonly events: readonly ClusterEvent[];
  readonly changes: ChangesAnswer;
  readonly flows: FlowRows;
  readonly find: FindAnswer;
  readonly values: ValuesAnswer;
  readonly 'why-empty': WhyEmpty;
  readonly nodes: NodesAnswer;
}

/** The place of the relay's answers, relative to the page, so that they are found below any prefix. */
const base = 'api/';

/** Returns the address of a request, relative to the page. */
export function requestUrl(path: readonly string[], parameters: Parameters = {}): string {
  const pairs = Object.entries(parameters)
    .filter(([, value]) => value !== undefined && value !== '')
    .map(([name, value]) => `${name}=${encodeURIComponent(String(value).toWellFormed())}`);
  const place = path.map((part) => encodeURIComponent(part.toWellFormed())).join('/');
  return `${base}${place}${pairs.length > 0 ? `?${pairs.join('&')}` : ''}`;
}

/** Receives the relay's sentence when it asks for a token, and the token of the request if that had one. */
export type Denied = (text: string, token: string | undefined) => void;

/** The requests to the relay. All throw RequestError, or the browser's error if the relay is not reached. */
export class Api {
  readonly #denied: Denied;

  constructor(denied: Denied) {
    this.#denied = denied;
  }

  /** Asks for what has no name in its path. */
  get<Kind extends keyof Answers>(
    kind: Kind,
    parameters?: Parameters,
    signal?: AbortSignal,
  ): Promise<Answers[Kind]> {
    return this.#ask([kind], parameters, signal);
  }

  /** Asks why one kind of drops happens. */
  explain(id: string, signal?: AbortSignal): Promise<Explanation> {
    return this.#ask(['drops', id], {}, signal);
  }

  /** Asks for the page of a workload, pod, service, or of something outside the cluster. */
  workload(
    kind: 'workload' | 'pod' | 'service' | 'outside',
    path: readonly string[],
    parameters?: Parameters,
    signal?: AbortSignal,
  ): Promise<WorkloadAnswer> {
    return this.#ask([kind, ...path], parameters, signal);
  }

  async #ask<Answer>(
    path: readonly string[],
    parameters?: Parameters,
    signal?: AbortSignal,
  ): Promise<Answer> {
    const token = readToken();
    try {
      const response = await send(requestUrl(path, parameters), jsonType, token, signal);
      return await response.json();
    } catch (error) {
      if (isTokenWanted(error)) this.#denied(error.message, token);
      throw error;
    }
  }
}

/** Resolves if the relay accepts a token. Throws as the requests do. */
export async function checkToken(token: string): Promise<void> {
  await send(requestUrl(['hello']), jsonType, token);
}

/** Opens the stream of server-sent events. Throws as the requests do. */
export function openStream(
  parameters: Parameters,
  token: string | undefined,
  signal: AbortSignal,
): Promise<Response> {
  return send(requestUrl(['stream'], parameters), 'text/event-stream', token, signal);
}

/** Returns true for the error of a request whose token is missing or not accepted. */
export function isTokenWanted(error: unknown): error is RequestError {
  return error instanceof RequestError && error.status === 401;
}

const jsonType = 'application/json';

/** Sends a request with the token in its header, and returns the answer of the given type. */
async function send(
  url: string,
  type: string,
  token: string | undefined,
  signal?: AbortSignal,
): Promise<Response> {
  const response = await fetch(url, {
    headers: { Accept: type, ...(token === undefined ? {} : { Authorization: `Bearer ${token}` }) },
    ...(signal ? { signal } : {}),
  });
  const answered = response.headers.get('content-type') ?? '';
  if (response.ok && answered.startsWith(type)) return response;
  const body: Partial<ApiError> = answered.startsWith(jsonType) ? await response.json() : {};
  const text = `The relay answers ${response.status} ${response.statusText}.`;
  throw new RequestError(response.status, body.error ?? { code: 'unavailable', text });
}
