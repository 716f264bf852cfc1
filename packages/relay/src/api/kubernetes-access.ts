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
/** The most readers whose rights are kept. */
const readersMax = 500;
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
  readonly reader: Promise<Reader>;
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
  readonly #kept = new Map<string, Kept>();

  /** `namespaces` returns those that flows have named. */
  constructor(server: ApiServer, namespaces: () => Iterable<string>) {
    this.#server = server;
    this.#namespaces = namespaces;
  }

  async admit(token: string | undefined): Promise<Reader> {
    if (token === undefined) throw notAdmitted(token);
    const key = createHash('sha256').update(token).digest('base64');
    const kept = this.#kept.get(key);
    if (kept && Date.now() < kept.until) return kept.reader;
    this.#kept.delete(key);
    if (this.#kept.size >= readersMax) this.#kept.delete(this.#kept.keys().next().value!);
    const reader = this.#ask(token);
    this.#kept.set(key, { until: Date.now() + keptMs, reader });
    // A failure of the API server is not kept.
    reader.catch((error: unknown) => {
      const isAnswer = error instanceof ApiProblem && error.status === 401;
      if (!isAnswer) this.#kept.delete(key);
    });
    return reader;
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
