import type {
  DenialReasons,
  DnsEntry,
  DropEntry,
  FeedLoss,
  NearestRule,
  VerdictEntry,
} from '@heddle/agent';
import { ControlClient } from '@heddle/control';
import { exitCodes, Failure } from '@heddle/control/failure';
import { readDnsAnswer } from '../dns/message.ts';
import type { FlowRecord } from '../flows/record.ts';
import type { AgentNames } from '../sources/agent-names.ts';
import { type DefaultDenial, ReasonCache } from '../sources/denial-reasons.ts';
import { dnsRecord, messageBytes } from '../sources/dns-records.ts';
import { KnownVerdicts } from '../sources/known-verdicts.ts';
import { dropRecord } from '../sources/records.ts';
import { verdictRecords } from '../sources/verdict-records.ts';
import { pause } from '../waiting.ts';

/** The interval in milliseconds between attempts to reach the agent. */
const retryMs = 2000;

/** The observations that may wait for reasons; more are added without. */
const waitingMax = 1000;

/** The receiver of what the agent reports. */
export interface FeedTarget {
  add(record: FlowRecord): void;
  /** Reports observations that are missing. */
  lose(count: number): void;
  /** Reports a problem with one of the feeds; the empty text ends it. */
  report(what: string, problem: string): void;
}

/** The reports of an agent while it is followed: dropped packets and verdicts of network policies. */
export class AgentFeeds implements Disposable {
  /** The rules that have allowed the latest connections. */
  readonly verdicts = new KnownVerdicts();
  readonly #socket: string;
  readonly #names: AgentNames;
  readonly #target: FeedTarget;
  readonly #closing = new AbortController();
  readonly #clients = new Map<string, ControlClient>();
  readonly #reasons = new ReasonCache((denial) => this.#explain(denial));
  /** The connection for questions. */
  #questions: Promise<ControlClient> | undefined;
  /** Observations that wait for reasons. */
  #waiting = 0;

  constructor(socket: string, names: AgentNames, target: FeedTarget) {
    this.#socket = socket;
    this.#names = names;
    this.#target = target;
  }

  start(): void {
    void this.#follow<DropEntry>('drops.follow', 'dropped packets', (drop) => this.#drop(drop));
    void this.#follow<VerdictEntry | FeedLoss>('policy.verdicts', 'verdicts', (entry) => {
      if ('lost' in entry) this.#target.lose(entry.lost);
      else this.#verdict(entry);
    });
    void this.#follow<DnsEntry | FeedLoss>('dns.follow', 'answers of name servers', (entry) => {
      if ('lost' in entry) this.#target.lose(entry.lost);
      else this.#answer(entry);
    });
  }

  [Symbol.dispose](): void {
    this.#closing.abort();
    for (const client of this.#clients.values()) client[Symbol.dispose]();
  }

  #drop(drop: DropEntry): void {
    const time = Date.now();
    const { policy, deniedBy } = drop;
    const direction = policy && !deniedBy ? policy.direction : undefined;
    void this.#withReasons(drop, direction, (reasons) =>
      this.#target.add(dropRecord(drop, this.#names, time, reasons)),
    );
  }

  /** Anyone may have sent an answer: what cannot be read is left out. */
  #answer(entry: DnsEntry): void {
    const bytes = messageBytes(entry);
    const message = bytes && readDnsAnswer(bytes);
    if (!message) return;
    this.#names.learn(message);
    const record = dnsRecord(entry, message, this.#names, Date.now());
    if (record) this.#target.add(record);
  }

  #verdict(entry: VerdictEntry): void {
    const time = Date.now();
    this.verdicts.add(entry);
    const { direction, egressRule, ingressRule } = entry;
    const rule = direction === 'egress' ? egressRule : ingressRule;
    void this.#withReasons(entry, rule ? undefined : direction, (reasons) => {
      for (const record of verdictRecords(entry, reasons, this.#names, time)) {
        this.#target.add(record);
      }
    });
  }

  /** Calls `add` at once, or with the reasons of a denial by default in that direction. */
  async #withReasons(
    { source, destination, protocol, destinationPort: port }: DropEntry | VerdictEntry,
    direction: 'egress' | 'ingress' | undefined,
    add: (reasons: DenialReasons | undefined) => void,
  ): Promise<void> {
    if (direction === undefined || this.#waiting >= waitingMax) {
      add(undefined);
      return;
    }
    this.#waiting++;
    const reasons = await this.#reasons.of({ source, destination, protocol, port, direction });
    this.#waiting--;
    if (!this.#closing.signal.aborted) add(reasons);
  }

  /** Follows a feed until it is disposed; it connects again when the agent returns. */
  async #follow<Entry>(
    method: 'drops.follow' | 'policy.verdicts' | 'dns.follow',
    what: string,
    take: (entry: Entry) => void,
  ): Promise<void> {
    while (!this.#closing.signal.aborted) {
      try {
        const client = await this.#connect(method);
        this.#target.report(what, '');
        await client.follow<Entry>(take, method);
      } catch (error) {
        if (this.#closing.signal.aborted) return;
        const why = error instanceof Error ? error.message : String(error);
        this.#target.report(what, `${what} are not observed: ${why}`);
      }
      this.#clients.get(method)?.[Symbol.dispose]();
      await pause(retryMs, this.#closing.signal);
    }
  }

  /** Returns the answer of the agent to `policy.nearest`. Throws Failure. */
  async nearest(denial: DefaultDenial): Promise<NearestRule> {
    return (await this.#question('policy.nearest', denial)) as NearestRule;
  }

  /** Throws Failure. */
  async #explain(denial: DefaultDenial): Promise<DenialReasons> {
    return (await this.#question('policy.explain', denial)) as DenialReasons;
  }

  /** Asks on the connection that is there; if the agent has left it, as at its restart, once more on a new one. Throws Failure. */
  async #question(method: string, denial: DefaultDenial): Promise<unknown> {
    const isOld = this.#questions !== undefined;
    try {
      return await this.#ask(method, denial);
    } catch (error) {
      if (!isOld || !isUnreachable(error) || this.#closing.signal.aborted) throw error;
      return this.#ask(method, denial);
    }
  }

  /** Throws Failure. */
  async #ask(method: string, denial: DefaultDenial): Promise<unknown> {
    this.#questions ??= this.#connect('questions');
    const questions = this.#questions;
    try {
      return await (await questions).request(method, { ...denial });
    } catch (error) {
      // The next question connects again.
      if (this.#questions === questions && isUnreachable(error)) this.#questions = undefined;
      throw error;
    }
  }

  async #connect(purpose: string): Promise<ControlClient> {
    const client = await ControlClient.connect(this.#socket);
    this.#clients.get(purpose)?.[Symbol.dispose]();
    this.#clients.set(purpose, client);
    if (this.#closing.signal.aborted) client[Symbol.dispose]();
    return client;
  }
}

function isUnreachable(error: unknown): boolean {
  return error instanceof Failure && error.exitCode === exitCodes.unreachable;
}
