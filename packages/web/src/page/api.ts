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

/** The parameters of a request; undefined ones are left out. */
export type Parameters = Readonly<Record<string, string | number | undefined>>;

/** The error of a request that the relay refuses, with its code and, of the filter, the word's index. */
export class RequestError extends Error {
  readonly code: ApiError['error']['code'];
  readonly word: number | undefined;

  constructor({ code, text, word }: ApiError['error']) {
    super(text);
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

/** The requests to the relay. All throw RequestError, or the browser's error if the relay is not reached. */
export class Api {
  /** Asks for what has no name in its path. */
  get<Kind extends keyof Answers>(
    kind: Kind,
    parameters?: Parameters,
    signal?: AbortSignal,
  ): Promise<Answers[Kind]> {
    return request([kind], parameters, signal);
  }

  /** Asks why one kind of drops happens. */
  explain(id: string, signal?: AbortSignal): Promise<Explanation> {
    return request(['drops', id], {}, signal);
  }

  /** Asks for the page of a workload, pod, service, or of something outside the cluster. */
  workload(
    kind: 'workload' | 'pod' | 'service' | 'outside',
    path: readonly string[],
    parameters?: Parameters,
    signal?: AbortSignal,
  ): Promise<WorkloadAnswer> {
    return request([kind, ...path], parameters, signal);
  }
}

async function request<Answer>(
  path: readonly string[],
  parameters?: Parameters,
  signal?: AbortSignal,
): Promise<Answer> {
  const response = await fetch(requestUrl(path, parameters), { ...(signal ? { signal } : {}) });
  const isJson = response.headers.get('content-type')?.startsWith('application/json');
  if (response.ok && isJson) return response.json();
  const body: Partial<ApiError> = isJson ? await response.json() : {};
  const text = `The relay answers ${response.status} ${response.statusText}.`;
  throw new RequestError(body.error ?? { code: 'unavailable', text });
}
