import { exitCodes, Failure } from '@heddle/control/failure';
import { observedFlows, responseJson, timestampOf } from '@heddle/hubble';
import { type FlowFilter, type LostEvent, Verdict } from '@heddle/hubble/messages';
import { type OutputFormat, printLine } from '../print.ts';
import { flowLine } from './flow-line.ts';

/** The options of `heddle flow observe`. */
export interface ObserveOptions {
  readonly observer: string;
  readonly output: OutputFormat;
  readonly follow?: boolean;
  readonly last?: number;
  readonly since?: string;
  readonly namespace?: string;
  readonly pod?: string;
  readonly verdict?: string;
  readonly port?: number;
  readonly protocol?: string;
  readonly ip?: string;
}

/** The filters of a request, of which one must match. */
export type Filter = Partial<
  Pick<
    FlowFilter,
    | 'sourcePod'
    | 'destinationPod'
    | 'sourceIp'
    | 'destinationIp'
    | 'sourcePort'
    | 'destinationPort'
    | 'protocol'
    | 'verdict'
  >
>;

const latest = 20;

/** `heddle flow observe`: prints the flows of an observer; as JSON, one object in each line. */
export async function flowObserve(options: ObserveOptions): Promise<void> {
  const { observer, output, follow = false } = options;
  const since = sinceOf(options.since, Date.now());
  const number = options.last ?? (since === undefined ? latest : undefined);
  const request = {
    ...{ whitelist: filtersOf(options), follow },
    ...(number === undefined ? {} : { number: BigInt(number) }),
    ...(since === undefined ? {} : { since: timestampOf(since) }),
  };
  try {
    for await (const response of observedFlows(observer, request)) {
      const { responseTypes } = response;
      if (responseTypes.case === 'lostEvents') reportLoss(responseTypes.value);
      if (responseTypes.case !== 'flow') continue;
      printLine(output === 'json' ? responseJson(response) : flowLine(responseTypes.value));
    }
  } catch (error) {
    throw failureOf(error as Error, observer);
  }
}

/** Returns the filters of a request; an empty list matches all flows. Throws Failure. */
export function filtersOf(options: ObserveOptions): Filter[] {
  const { protocol, port, ip } = options;
  const verdict = verdictOf(options.verdict);
  const pod = podOf(options);
  const common: Filter = {
    ...(protocol === undefined ? {} : { protocol: [protocol] }),
    ...(verdict === undefined ? {} : { verdict: [verdict] }),
  };
  let filters = [common];
  /** Adds a condition that one of both ends must meet. */
  const either = (
    source: 'sourcePod' | 'sourceIp' | 'sourcePort',
    destination: 'destinationPod' | 'destinationIp' | 'destinationPort',
    value: string | undefined,
  ) => {
    if (value === undefined) return;
    filters = filters.flatMap((filter) => [
      { ...filter, [source]: [value] },
      { ...filter, [destination]: [value] },
    ]);
  };
  either('sourcePod', 'destinationPod', pod);
  either('sourceIp', 'destinationIp', ip);
  either('sourcePort', 'destinationPort', port === undefined ? undefined : `${port}`);
  return filters.length === 1 && Object.keys(common).length === 0 ? [] : filters;
}

function podOf({ namespace, pod }: ObserveOptions): string | undefined {
  if (pod === undefined) return namespace === undefined ? undefined : `${namespace}/`;
  const [first, second] = pod.split('/');
  if (second === undefined) return `${namespace ?? 'default'}/${pod}`;
  if (namespace === undefined || namespace === first) return pod;
  throw new Failure(
    exitCodes.usage,
    `--pod ${pod} is in another namespace than --namespace ${namespace}`,
  );
}

function verdictOf(text: string | undefined): Verdict | undefined {
  if (text === undefined) return undefined;
  const names = Object.values(Verdict).filter((each) => typeof each === 'string');
  const name = names.find((each) => each === text.toUpperCase());
  if (name === undefined) {
    const known = names.map((each) => each.toLowerCase()).join(', ');
    throw new Failure(exitCodes.usage, `--verdict ${text}: there is no such verdict (${known})`);
  }
  return Verdict[name as keyof typeof Verdict];
}

const units: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** Returns a time in milliseconds since 1970. Throws Failure. */
export function sinceOf(text: string | undefined, now: number): number | undefined {
  if (text === undefined) return undefined;
  const [, amount, unit] = /^(\d{1,9})([smhd])$/.exec(text) ?? [];
  if (amount !== undefined) return now - Number(amount) * units[unit!]!;
  const time = /^\d{4}-\d\d-\d\dT/.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isFinite(time)) return time;
  throw new Failure(
    exitCodes.usage,
    `--since ${text}: it is no time (write e.g. 30s, 5m, 2h or 2026-01-02T03:04:05Z)`,
  );
}

function reportLoss({ numEventsLost }: LostEvent): void {
  process.stderr.write(`heddle: ${numEventsLost} observations are missing here\n`);
}

function failureOf(error: Error, observer: string): Error {
  const { code, rawMessage = error.message } = error as { code?: unknown; rawMessage?: string };
  // Numbers of gRPC: invalid argument, unavailable.
  if (code === 3) return new Failure(exitCodes.usage, `observe flows: ${rawMessage}`);
  // A socket that cannot be connected to is an internal error with the system's error as its cause.
  const systemCode = (error.cause as { readonly code?: unknown } | undefined)?.code;
  if (code !== 14 && !/^E[A-Z]+$/.test(String(systemCode))) return error;
  return new Failure(
    exitCodes.unreachable,
    `reach observer: none answers on ${observer} (start heddle observer, or give its socket with --observer PATH): ${rawMessage}`,
    { cause: error },
  );
}
