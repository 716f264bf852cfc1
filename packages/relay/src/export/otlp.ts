import { ProblemLog, pause } from '@heddle/hubble';
import { reasonNames } from '@heddle/web/filter';
import { nameOf } from '../api/view.ts';
import { BackOff, messageOf } from '../peers/back-off.ts';
import type { RelayFlow } from '../traffic/model.ts';

/** The settings of an export by OTLP. */
export interface OtlpSettings {
  /** The URL of a collector; `/v1/logs` is added if it has no path. */
  readonly url: string;
  readonly cluster: string;
  readonly version: string;
  readonly log: (message: string) => void;
  /** The shortest and the longest wait after a failure, in milliseconds. */
  readonly retryMs?: readonly [number, number];
}

/** Flows that wait for the collector; what comes beyond is lost and counted. */
const queueMax = 16_384;
const batchMax = 1024;
/** A batch that is not full is sent after this time, in milliseconds. */
const batchMs = 1000;
/** A collector that does not answer within this time has failed, in milliseconds. */
const answerMs = 10_000;
/** Statuses after which OTLP/HTTP sends a batch again. */
const retried = [429, 502, 503, 504];

/** Sends flows as OTLP/HTTP JSON logs to a collector, in batches, again after failures. */
export class OtlpExport implements AsyncDisposable {
  readonly #settings: OtlpSettings;
  readonly #url: URL;
  readonly #stop = new AbortController();
  readonly #sending: Promise<void>;
  #queue: RelayFlow[] = [];
  #lost = 0;
  readonly #problems: ProblemLog;
  #wake: () => void = () => {};

  /** Throws an Error for a URL that is not one of HTTP. */
  constructor(settings: OtlpSettings) {
    this.#settings = settings;
    this.#problems = new ProblemLog(settings.log);
    this.#url = collectorUrl(settings.url);
    this.#sending = this.#send();
  }

  /** The flows that were lost. */
  get lost(): number {
    return this.#lost;
  }

  add(flow: RelayFlow): void {
    if (this.#queue.length >= queueMax) {
      this.#lost++;
      return;
    }
    this.#queue.push(flow);
    if (this.#queue.length >= batchMax) this.#wake();
  }

  /** Tries once to send what waits, and ends. */
  async close(): Promise<void> {
    this.#stop.abort();
    this.#wake();
    await this.#sending;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #send(): Promise<void> {
    const { signal } = this.#stop;
    const backOff = new BackOff(...(this.#settings.retryMs ?? [1000, 30_000]));
    for (;;) {
      if (this.#queue.length < batchMax && !signal.aborted) await this.#pauseForBatch();
      const batch = this.#queue.slice(0, batchMax);
      if (batch.length === 0) {
        if (signal.aborted) return;
        continue;
      }
      const outcome = await this.#post(batch);
      if (outcome !== 'again') {
        this.#queue.splice(0, batch.length);
        if (outcome === 'refused') this.#lost += batch.length;
        backOff.reset();
      } else if (signal.aborted) {
        this.#lost += this.#queue.length;
        return;
      } else {
        await pause(backOff.next(), signal);
      }
    }
  }

  #pauseForBatch(): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, batchMs);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  async #post(batch: readonly RelayFlow[]): Promise<'sent' | 'again' | 'refused'> {
    try {
      const response = await fetch(this.#url, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(logsOf(batch, this.#settings)),
        signal: AbortSignal.timeout(answerMs),
        redirect: 'error',
      });
      await response.body?.cancel();
      if (response.ok) {
        this.#report('');
        return 'sent';
      }
      this.#report(`it answers ${response.status}`);
      return retried.includes(response.status) ? 'again' : 'refused';
    } catch (error) {
      const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
      this.#report(messageOf(cause));
      return 'again';
    }
  }

  #report(problem: string): void {
    // What comes after the path may be a secret.
    const where = `${this.#url.origin}${this.#url.pathname}`;
    const text = problem && `flows are not sent to ${where}: ${problem}`;
    this.#problems.report(where, text, `flows are sent to ${where} again`);
  }
}

/** Returns the address for logs of a collector. Throws an Error for text that is no URL of HTTP, and for one with a user. */
export function collectorUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url || !/^https?:$/.test(url.protocol)) {
    throw new Error(`export by OTLP: "${text}" is no URL, such as http://collector:4318`);
  }
  if (url.username !== '' || url.password !== '') {
    throw new Error(
      `export by OTLP: the URL of ${url.host} has a user or a password (put what adds them before the collector)`,
    );
  }
  if (url.pathname === '/') url.pathname = '/v1/logs';
  return url;
}

type Value = { readonly stringValue: string } | { readonly intValue: string };

function attribute(
  key: string,
  value: string | number,
): { readonly key: string; readonly value: Value } {
  return {
    key,
    value: typeof value === 'string' ? { stringValue: value } : { intValue: String(value) },
  };
}

/** Returns flows as a request of OTLP's logs. */
export function logsOf(
  flows: readonly RelayFlow[],
  { cluster, version }: Pick<OtlpSettings, 'cluster' | 'version'>,
) {
  return {
    resourceLogs: [
      {
        resource: {
          attributes: [attribute('service.name', 'heddle'), attribute('k8s.cluster.name', cluster)],
        },
        scopeLogs: [{ scope: { name: 'heddle.relay', version }, logRecords: flows.map(logOf) }],
      },
    ],
  };
}

/** The severities of OTLP: INFO for what was forwarded, WARN for the rest. */
const [info, warn] = [9, 13];

function logOf(flow: RelayFlow) {
  const { from, to, verdict, reason, service, flow: facts } = flow;
  const isForwarded = verdict === 'forwarded';
  const nanos = `${BigInt(Math.floor(flow.time)) * 1_000_000n + BigInt(Math.round((flow.time % 1) * 1e6))}`;
  const attributes = [
    attribute('flow.id', flow.uuid),
    attribute('flow.verdict', verdict),
    ...(isForwarded ? [] : [attribute('flow.drop_reason', reasonNames[reason] ?? String(reason))]),
    attribute('source.address', from.address ?? ''),
    attribute('source.port', flow.fromPort),
    attribute('source.workload', nameOf(from)),
    attribute('destination.address', to.address ?? ''),
    attribute('destination.port', flow.port),
    attribute('destination.workload', nameOf(to)),
    attribute('network.protocol.number', flow.protocol),
    attribute('flow.is_reply', String(flow.isReply)),
    ...(service === '' ? [] : [attribute('destination.service', service)]),
    ...(from.pod === undefined ? [] : [attribute('source.pod', `${from.namespace}/${from.pod}`)]),
    ...(to.pod === undefined ? [] : [attribute('destination.pod', `${to.namespace}/${to.pod}`)]),
    ...(facts.dns === undefined ? [] : [attribute('dns.question.name', facts.dns)]),
    attribute('k8s.node.name', facts.node),
    attribute('flow.bytes', flow.bytes),
  ];
  return {
    ...{ timeUnixNano: nanos, observedTimeUnixNano: nanos },
    ...{ severityNumber: isForwarded ? info : warn, severityText: isForwarded ? 'INFO' : 'WARN' },
    body: { stringValue: `${nameOf(from)} to ${nameOf(to)}:${flow.port} ${verdict}` },
    attributes,
  };
}
