import type { Damage } from '@heddle/datapath';
import { backoffMs } from '@heddle/state';
import type { Platform } from '@heddle/sys';
import type { NodeDatapath } from './datapath-part.ts';
import type { EventLog } from './events.ts';

/** The interval of checks of hooks and pins. */
const lookMs = 1000;
/**
 * The time in which every map is audited once, so that a change is noticed within 30 s. With 10,000 frontends and
 * 50,000 backends all maps take 14 ms of processor time, and a check of hooks and pins 0.09 ms.
 */
const auditMs = 25_000;
/** The number of failed checks in a row after which the state is reported as unknown. */
const blindLooks = 3;
/** The largest number of names in a message. */
const named = 3;

export interface IntegrityOptions {
  readonly platform: Pick<Platform, 'setTimer' | 'monotonicNs' | 'wallTimeMs' | 'randomBytes'>;
  readonly events: Pick<EventLog, 'add'>;
  /** The name of the node. */
  readonly node: string;
  readonly integrity: NodeDatapath['integrity'];
  /** Called after a repair, to lock a folder of pins that was made anew. Throws what may be tried again. */
  readonly keepPins: () => void;
}

/** The state of hooks, pins and maps in the kernel, as `status` returns it. */
export interface IntegrityStatus {
  /** The damage that could not be repaired yet. */
  readonly broken: readonly Damage[];
  /** The time since which something is broken, in ISO 8601. */
  readonly since?: string;
  /** The reason why the last repair, or the last audit, failed. */
  readonly reason?: string;
  /** The number of changes by other programs, by kind: changes of one kind at one moment count once. */
  readonly incidents: Readonly<Record<Damage['kind'], number>>;
  readonly repairs: number;
  readonly failedRepairs: number;
  /** `heddle cleanup` has removed the programs: nothing is compared any more. */
  readonly released?: true;
}

/**
 * Checks whether another program has changed what the datapath has in the kernel, and repairs it: programs and
 * pins each second, entries of maps each 25 s. A repair that fails is retried at growing intervals.
 */
export class IntegrityWatch implements Disposable {
  readonly #options: IntegrityOptions;
  #timer: Disposable | undefined;
  #damages: readonly Damage[] = [];
  #reason: string | undefined;
  #sinceMs: number | undefined;
  #sinceNs = 0n;
  #attempts = 0;
  #dueNs = 0n;
  #blind = 0;
  #lastAuditNs: bigint;
  readonly #incidents = { hook: 0, pin: 0, map: 0 };
  #repairs = 0;
  #failedRepairs = 0;
  #released = false;

  constructor(options: IntegrityOptions) {
    this.#options = options;
    this.#lastAuditNs = options.platform.monotonicNs();
    this.#arm();
  }

  get status(): IntegrityStatus {
    const since = this.#sinceMs === undefined ? undefined : new Date(this.#sinceMs).toISOString();
    return {
      broken: this.#damages,
      ...(since === undefined ? {} : { since }),
      ...(this.#reason === undefined ? {} : { reason: this.#reason }),
      incidents: { ...this.#incidents },
      repairs: this.#repairs,
      failedRepairs: this.#failedRepairs,
      ...(this.#released ? { released: true } : {}),
    };
  }

  /** A sentence that names what is broken; undefined when nothing is. */
  get problem(): string | undefined {
    if (this.#damages.length > 0) {
      const why = this.#reason === undefined ? '' : ` (${this.#reason})`;
      return `${damageText(this.#damages)}${why}`;
    }
    if (this.#blind < blindLooks) return undefined;
    return `the state of the programs in the kernel is unknown: ${this.#reason}`;
  }

  /** The time for which something has been broken, in milliseconds. */
  get brokenMs(): number {
    if (this.problem === undefined) return 0;
    return Number((this.#options.platform.monotonicNs() - this.#sinceNs) / 1_000_000n);
  }

  /** Stops all comparisons, because from now on programs are removed on purpose. */
  release(): void {
    this.#released = true;
    this.#clear();
    this.#blind = 0;
    this[Symbol.dispose]();
  }

  [Symbol.dispose](): void {
    this.#timer?.[Symbol.dispose]();
    this.#timer = undefined;
  }

  #arm(): void {
    this.#timer = this.#options.platform.setTimer(lookMs, () => {
      // Armed first, so that an error does not end the checks.
      this.#arm();
      this.#look();
    });
  }

  #look(): void {
    let found: Damage[];
    try {
      found = this.#find();
    } catch (error) {
      this.#unseen(error as Error);
      return;
    }
    if (this.#blind >= blindLooks) {
      if (this.#damages.length === 0) this.#clear();
      this.#report('info', 'the state of the programs in the kernel is known again');
    }
    this.#blind = 0;
    if (found.length > 0) this.#repair(found);
    else this.#mended('was repaired by another program');
  }

  /** Returns the present damage; a damaged map counts until it is repaired. */
  #find(): Damage[] {
    const { integrity, platform } = this.#options;
    const found = new Map<string, Damage>();
    const add = (damages: readonly Damage[]) => {
      for (const damage of damages) found.set(`${damage.kind} ${damage.name}`, damage);
    };
    add(this.#damages.filter(({ kind }) => kind === 'map'));
    add(integrity.checkAttachments());
    const step = BigInt(Math.floor(auditMs / integrity.mapCount)) * 1_000_000n;
    for (let now = platform.monotonicNs(); now - this.#lastAuditNs >= step; ) {
      this.#lastAuditNs += step;
      // Audits that a pause, e.g. of the whole machine, has prevented are not made up for.
      if (now - this.#lastAuditNs > 2n * step) this.#lastAuditNs = now;
      add(integrity.auditNext());
    }
    return [...found.values()];
  }

  #repair(found: readonly Damage[]): void {
    const { integrity, platform, keepPins } = this.#options;
    const known = new Set(this.#damages.map(({ kind, name }) => `${kind} ${name}`));
    const fresh = found.filter(({ kind, name }) => !known.has(`${kind} ${name}`));
    for (const kind of new Set(fresh.map((damage) => damage.kind))) this.#incidents[kind]++;
    const isFirst = this.#damages.length === 0;
    if (isFirst) {
      this.#sinceMs = platform.wallTimeMs();
      this.#sinceNs = platform.monotonicNs();
    }
    this.#damages = found;
    if (fresh.length === 0 && platform.monotonicNs() < this.#dueNs) return;
    let error: Error | undefined;
    try {
      const outcome = integrity.repair(found);
      this.#damages = outcome.left;
      error = outcome.error;
      keepPins();
    } catch (thrown) {
      error = thrown as Error;
    }
    if (this.#damages.length === 0 && error === undefined) {
      this.#repairs++;
      if (isFirst) {
        this.#clear();
        this.#report('warn', `${damageText(found)}: another program has changed it; repaired`);
      } else this.#mended('is repaired');
      return;
    }
    if (this.#damages.length === 0) this.#damages = found;
    this.#failedRepairs++;
    this.#attempts++;
    const random = platform.randomBytes(1)[0]! / 256;
    const waitMs = backoffMs(this.#attempts, random);
    this.#dueNs = platform.monotonicNs() + BigInt(waitMs) * 1_000_000n;
    this.#reason = error?.message ?? 'it was changed again at once';
    if (fresh.length === 0) return;
    const text = `${damageText(this.#damages)}: another program has changed it, and it can't be repaired: ${this.#reason}; the repair is retried`;
    this.#report('error', text);
  }

  /** Reports that nothing is damaged any more. */
  #mended(how: string): void {
    if (this.#sinceMs === undefined) return;
    const { platform } = this.#options;
    const seconds = Math.round(Number(platform.monotonicNs() - this.#sinceNs) / 1e9);
    this.#clear();
    this.#report('info', `what was broken in the kernel ${how}, after ${seconds} s`);
  }

  #clear(): void {
    this.#damages = [];
    this.#reason = undefined;
    this.#sinceMs = undefined;
    this.#attempts = 0;
    this.#dueNs = 0n;
  }

  #unseen(error: Error): void {
    const { platform } = this.#options;
    if (++this.#blind !== blindLooks) return;
    this.#reason = error.message;
    if (this.#sinceMs === undefined) {
      this.#sinceMs = platform.wallTimeMs();
      this.#sinceNs = platform.monotonicNs();
    }
    this.#report('error', `the state of the programs in the kernel is unknown: ${error.message}`);
  }

  #report(level: 'info' | 'warn' | 'error', message: string): void {
    const { events, node } = this.#options;
    events.add(level, level === 'info' ? 'agent' : 'problem', node, message);
  }
}

/** `3 hooks are not attached (a, b, c); map services lacks 2 of its entries`. */
function damageText(damages: readonly Damage[]): string {
  const groups = new Map<string, Damage[]>();
  for (const damage of damages) {
    const group = damage.kind === 'map' ? damage.name : `${damage.kind} ${damage.problem}`;
    groups.set(group, [...(groups.get(group) ?? []), damage]);
  }
  return [...groups.values()]
    .map((group) => {
      const [{ kind, problem, name }] = group as [Damage];
      if (group.length === 1) return `${kind} ${name} ${problem}`;
      const names = group.slice(0, named).map((damage) => damage.name);
      const others = group.length > named ? ` and ${group.length - named} more` : '';
      return `${kind}s ${names.join(', ')}${others}: each ${problem}`;
    })
    .join('; ');
}
