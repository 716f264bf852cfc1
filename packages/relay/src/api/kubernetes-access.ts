import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { request } from 'node:https';
import { formatEndpoint } from '@heddle/sys';
import { type Access, notAdmitted, type Reader } from './access.ts';
import { ApiProblem } from './view.ts';

/** An API server, and the files that a pod has for it. */
export interface ApiServer {
  /** https://HOST:PORT */
  readonly url: string;
  readonly tokenFile: string;
  readonly authorityFile: string;
}

const accountFolder = '/var/run/secrets/kubernetes.io/serviceaccount';

/** Returns the API server as a pod finds it. Throws an Error outside of pods. */
export function inClusterServer(environment: NodeJS.ProcessEnv): ApiServer {
  const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port } = environment;
  if (host === undefined || port === undefined) {
    throw new Error(
      'find API server: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set (--ui-auth kubernetes works in pods only)',
    );
  }
  return {
    url: `https://${formatEndpoint(host, Number(port))}`,
    tokenFile: `${accountFolder}/token`,
    authorityFile: `${accountFolder}/ca.crt`,
  };
}

/** Answers hold for this time, in milliseconds. */
const keptMs = 60_000;
/** The most readers whose rights are kept, and the most tokens that are known to be false. */
const keptMax = 500;
/** The most tokens that the API server is asked about at once: everybody can send any number. */
const tokensAtOnce = 8;
/** The most namespaces that a reader's rights are asked for. */
const namespacesMax = 1000;
const questionsAtOnce = 8;
const answerMs = 5000;
const answerBytesMax = 1 << 20;

interface User {
  readonly username?: string;
  readonly uid?: string;
  readonly groups?: readonly string[];
  readonly extra?: Readonly<Record<string, readonly string[]>>;
}

interface Kept {
  readonly until: number;
  /** Undefined for a token that the API server does not accept. */
  readonly reader: Reader | undefined;
}

/**
 * Lets those read whose bearer token the API server accepts (TokenReview), and shows them the namespaces whose pods they
 * may get (SubjectAccessReview). Rights are asked for again after a minute, so namespaces that are new until then
 * are not shown.
 */
export class KubernetesAccess implements Access {
  readonly isProtected = true;
  readonly #server: ApiServer;
  readonly #namespaces: () => Iterable<string>;
  readonly #readers = new Map<string, Kept>();
  /** These have a place of their own, so that they push out no reader. */
  readonly #refused = new Map<string, Kept>();
  readonly #asked = new Map<string, Promise<Reader>>();

  /** `namespaces` returns those that flows have named. */
  constructor(server: ApiServer, namespaces: () => Iterable<string>) {
    this.#server = server;
    this.#namespaces = namespaces;
  }

  async admit(token: string | undefined): Promise<Reader> {
    if (token === undefined) throw notAdmitted(token);
    const key = createHash('sha256').update(token).digest('base64');
    const kept = this.#readers.get(key) ?? this.#refused.get(key);
    if (kept && Date.now() < kept.until) {
      if (kept.reader) return kept.reader;
      throw notAdmitted(token);
    }
    const asked = this.#asked.get(key);
    if (asked) return asked;
    if (this.#asked.size >= tokensAtOnce) {
      const text = 'The relay asks the API server about other tokens. Try again.';
      throw new ApiProblem(503, 'unavailable', text);
    }
    const answer = this.#askFor(key, token);
    this.#asked.set(key, answer);
    try {
      return await answer;
    } finally {
      this.#asked.delete(key);
    }
  }

  /** Keeps the answer; a failure of the API server is none. */
  async #askFor(key: string, token: string): Promise<Reader> {
    const until = Date.now() + keptMs;
    this.#readers.delete(key);
    this.#refused.delete(key);
    try {
      const reader = await this.#ask(token);
      keep(this.#readers, key, { until, reader });
      return reader;
    } catch (error) {
      const isAnswer = error instanceof ApiProblem && error.status === 401;
      if (isAnswer) keep(this.#refused, key, { until, reader: undefined });
      throw error;
    }
  }

  async #ask(token: string): Promise<Reader> {
    const review = await this.#post('authentication.k8s.io/v1', 'TokenReview', { token });
    const status = review.status as { authenticated?: boolean; user?: User } | undefined;
    if (status?.authenticated !== true || !status.user) throw notAdmitted(token);
    const { user } = status;
    if (await this.#mayRead(user, '')) return { canSee: () => true };
    const asked = [...new Set(this.#namespaces())].sort().slice(0, namespacesMax);
    const seen = new Set<string>();
    for (let at = 0; at < asked.length; at += questionsAtOnce) {
      const part = asked.slice(at, at + questionsAtOnce);
      const answers = await Promise.all(part.map((namespace) => this.#mayRead(user, namespace)));
      for (const [index, isAllowed] of answers.entries()) if (isAllowed) seen.add(part[index]!);
    }
    return { canSee: (namespace) => seen.has(namespace), namespaces: [...seen] };
  }

  /** Returns true if a user may get the pods of a namespace; the empty name stands for all namespaces. */
  async #mayRead({ username = '', uid = '', groups = [], extra = {} }: User, namespace: string) {
    const resourceAttributes = { verb: 'get', resource: 'pods', namespace };
    const spec = { user: username, uid, groups, extra, resourceAttributes };
    const review = await this.#post('authorization.k8s.io/v1', 'SubjectAccessReview', spec);
    return (review.status as { allowed?: boolean } | undefined)?.allowed === true;
  }

  #post(apiVersion: string, kind: string, spec: object): Promise<Record<string, unknown>> {
    const path = `/apis/${apiVersion}/${kind.toLowerCase()}s`;
    const body = JSON.stringify({ apiVersion, kind, spec });
    return new Promise((resolve, reject) => {
      const fail = (why: string) => {
        reject(
          new ApiProblem(
            503,
            'unavailable',
            `The API server did not answer about the token: ${why}.`,
          ),
        );
      };
      const { url, tokenFile, authorityFile } = this.#server;
      const sent = request(
        `${url}${path}`,
        {
          method: 'POST',
          // The kubelet renews both files.
          ca: readFileSync(authorityFile),
          headers: {
            authorization: `Bearer ${readFileSync(tokenFile, 'utf8').trim()}`,
            'content-type': 'application/json',
          },
          timeout: answerMs,
        },
        (response) => {
          let text = '';
          response.setEncoding('utf8');
          response.on('data', (chunk: string) => {
            text += chunk;
            if (text.length > answerBytesMax) response.destroy(new Error('the answer is too long'));
          });
          response.on('error', (error) => fail(error.message));
          response.on('end', () => {
            const isDone = response.statusCode === 200 || response.statusCode === 201;
            if (!isDone) return fail(`it answers ${response.statusCode}`);
            try {
              resolve(JSON.parse(text));
            } catch {
              fail('it answers no JSON');
            }
          });
        },
      );
      sent.on('timeout', () => sent.destroy(new Error('it is silent')));
      sent.on('error', (error) => fail(error.message));
      sent.end(body);
    });
  }
}

/** Adds an answer, and removes the oldest one beyond the limit. */
function keep(answers: Map<string, Kept>, key: string, kept: Kept): void {
  if (answers.size >= keptMax) answers.delete(answers.keys().next().value!);
  answers.set(key, kept);
}
