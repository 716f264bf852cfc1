import { decodeUtf8, type Platform, type RunResult } from '@heddle/sys';
import { withoutCredentials } from '@heddle/sys/internal';
import * as v from 'valibot';
import { isToken } from './credential-files.ts';
import { KubeconfigError } from './errors.ts';
import type { Environment } from './proxy.ts';

/** The settings in a kubeconfig of a command that returns credentials. */
export interface ExecOptions {
  /** A path, or a name that is searched in PATH. */
  readonly command: string;
  readonly args: readonly string[];
  /** Variables that are added to the environment. */
  readonly env: Environment;
  readonly apiVersion: string;
  /** `installHint` of the kubeconfig, for a missing command. */
  readonly installHint?: string;
  /** The cluster's fields for the command, with `provideClusterInfo`. */
  readonly cluster?: { readonly [name: string]: unknown };
  /** The owner of the credentials for messages: `user "x" in /root/.kube/config`. */
  readonly origin: string;
}

/** The credentials from the command. */
export interface ExecCredentials {
  readonly token?: string;
  readonly cert?: string;
  readonly key?: string;
}

type Receiver = (result: ExecCredentials | KubeconfigError) => void;

const apiVersions = ['client.authentication.k8s.io/v1', 'client.authentication.k8s.io/v1beta1'];
/** A time limit, because a command that prompts for input waits for ever. */
const runTimeoutMs = 60_000;

const answerSchema = v.object({
  apiVersion: v.string(),
  kind: v.literal('ExecCredential'),
  status: v.object({
    token: v.optional(v.string()),
    clientCertificateData: v.optional(v.string()),
    clientKeyData: v.optional(v.string()),
    expirationTimestamp: v.nullish(v.string()),
  }),
});

/**
 * Credentials from a command (client.authentication.k8s.io). The command runs when there are none, when they have
 * expired or were refused, and once for all requests that wait.
 */
export class ExecPlugin {
  readonly #platform: Platform;
  readonly #environment: Environment;
  readonly #options: ExecOptions;
  readonly #waiting = new Set<Receiver>();
  #stop: (() => void) | undefined;
  #last: ExecCredentials | undefined;
  #expiresMs = Number.POSITIVE_INFINITY;

  /** Throws KubeconfigError for an unknown version of the interface. */
  constructor(platform: Platform, environment: Environment, options: ExecOptions) {
    if (!apiVersions.includes(options.apiVersion)) {
      throw new KubeconfigError(
        `${options.origin}: exec.apiVersion ${options.apiVersion} is not supported (use ${apiVersions.join(' or ')})`,
      );
    }
    this.#platform = platform;
    this.#environment = environment;
    this.#options = options;
  }

  /** Passes the credentials to `onReady`. `isRefused` is true if the server refused the last ones. */
  get(isRefused: boolean, onReady: Receiver): Disposable {
    if (this.#last && !isRefused && this.#platform.wallTimeMs() < this.#expiresMs) {
      onReady(this.#last);
      return { [Symbol.dispose]() {} };
    }
    this.#waiting.add(onReady);
    if (!this.#stop) this.#run();
    return {
      [Symbol.dispose]: () => {
        if (this.#waiting.delete(onReady) && this.#waiting.size === 0) this.#stop?.();
      },
    };
  }

  #run(): void {
    const { command, args, env, apiVersion, cluster } = this.#options;
    const info = {
      apiVersion,
      kind: 'ExecCredential',
      spec: { ...(cluster && { cluster }), interactive: false },
    };
    const environment = { ...this.#environment, ...env };
    const running = this.#platform.run(
      { command, args, env: { ...environment, KUBERNETES_EXEC_INFO: JSON.stringify(info) } },
      (result) => this.#end(this.#read(result)),
    );
    const timer = this.#platform.setTimer(runTimeoutMs, () =>
      this.#end(
        this.#failure(`it took longer than ${runTimeoutMs / 1000} s (does it prompt for input?)`),
      ),
    );
    this.#stop = () => {
      this.#stop = undefined;
      running[Symbol.dispose]();
      timer[Symbol.dispose]();
    };
  }

  #end(result: ExecCredentials | KubeconfigError): void {
    this.#stop?.();
    this.#last = result instanceof KubeconfigError ? undefined : result;
    const receivers = [...this.#waiting];
    this.#waiting.clear();
    for (const receive of receivers) receive(result);
  }

  #read({ exitCode, stdout, stderr, error }: RunResult): ExecCredentials | KubeconfigError {
    const { apiVersion, installHint } = this.#options;
    if (error) return this.#failure(error.message, installHint);
    if (exitCode !== 0) {
      const said = this.#withoutSecrets(lastLine(decodeUtf8(stderr)));
      return this.#failure(`exit code ${exitCode}${said && `: ${said}`}`, installHint);
    }
    let answer: unknown;
    try {
      answer = JSON.parse(decodeUtf8(stdout));
    } catch {
      return this.#failure('it wrote no JSON');
    }
    const parsed = v.safeParse(answerSchema, answer);
    if (!parsed.success) {
      const [issue] = parsed.issues;
      // The message has no value: it may be a part of a token.
      const where = v.getDotPath(issue) ?? 'the whole';
      return this.#failure(`it wrote no ExecCredential: ${where} must be ${issue.expected}`);
    }
    if (parsed.output.apiVersion !== apiVersion) {
      return this.#failure(`it returns ${parsed.output.apiVersion}, the kubeconfig ${apiVersion}`);
    }
    const { token, clientCertificateData, clientKeyData, expirationTimestamp } =
      parsed.output.status;
    if (!clientCertificateData !== !clientKeyData) {
      return this.#failure('it gave only one of clientCertificateData and clientKeyData');
    }
    if (!token && !clientCertificateData)
      return this.#failure('it gave no token and no certificate');
    if (token && !isToken(token))
      return this.#failure('its token has characters that no token has');
    const expiresMs = expirationTimestamp ? Date.parse(expirationTimestamp) : undefined;
    if (Number.isNaN(expiresMs)) {
      return this.#failure(`its expirationTimestamp ${expirationTimestamp} is no time`);
    }
    this.#expiresMs = expiresMs ?? Number.POSITIVE_INFINITY;
    return {
      ...(token && { token }),
      ...(clientCertificateData && { cert: clientCertificateData, key: clientKeyData! }),
    };
  }

  /** Removes the credentials of the command's settings from the text that it wrote. */
  #withoutSecrets(text: string): string {
    let shown = withoutCredentials(text).replace(/\bBearer\s+\S+/gi, 'Bearer ***');
    for (const value of Object.values(this.#options.env)) {
      // Shorter ones are words such as `true`: their removal would make the message unreadable.
      if (value !== undefined && value.length > 5) shown = shown.replaceAll(value, '***');
    }
    return shown;
  }

  #failure(cause: string, hint?: string): KubeconfigError {
    const { origin, command } = this.#options;
    const advice = hint === undefined ? '' : ` (${hint.trim()})`;
    return new KubeconfigError(`get credentials of ${origin} from ${command}: ${cause}${advice}`);
  }
}

function lastLine(text: string): string {
  const line = text.trim().split('\n').at(-1)!.trim();
  return line.length > 300 ? `${line.slice(0, 300)}...` : line;
}
