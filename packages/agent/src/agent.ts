import { type RowChanges, ServiceModel, type ServiceRow } from '@heddle/model';
import { Reconciler, type RowStatus, Table } from '@heddle/state';
import { type Platform, syscallNumbers } from '@heddle/sys';
import { controlHandler } from './control/handler.ts';
import { ControlServer, type Handler } from './control/server.ts';
import type { DatapathPart } from './datapath-part.ts';
import { EventLog } from './events.ts';
import { residentBytes } from './machine.ts';
import { ownAddresses, watchOwnAddresses } from './own-addresses.ts';
import type { SourceBatch, SourceProblem } from './source/index.ts';
import type { AgentStatus, EffectiveConfig } from './status.ts';

export interface AgentParts {
  readonly platform: Platform;
  readonly config: EffectiveConfig;
  /** Of Heddle. */
  readonly version: string;
  /** Called once the control socket is taken, so that no two agents work on the same pins. */
  readonly openDatapath: () => DatapathPart;
  /** Called last; what it finds comes through `onChange`. */
  readonly openSource: (onChange: (batch: SourceBatch) => void) => Disposable;
}

/**
 * The agent: what the source says becomes rows, what changed of the rows is written to the kernel,
 * and nothing flows back but facts. Disposing it ends the process' part only: maps, programs and
 * links stay in force in the kernel, where the next agent finds them.
 */
export class Agent implements Disposable {
  /** Answers requests of the control protocol, as the control socket does. */
  readonly handle: Handler;
  readonly #platform: Platform;
  readonly #config: EffectiveConfig;
  readonly #version: string;
  readonly #started: string;
  readonly #events: EventLog;
  readonly #server: ControlServer;
  readonly #datapath: DatapathPart;
  readonly #model: ServiceModel;
  readonly #table = new Table<ServiceRow>();
  readonly #reconciler: Reconciler<ServiceRow>;
  readonly #source: Disposable;
  readonly #addressWatch: Disposable;
  #addresses: readonly string[];
  /** What the source said last; undefined until its first read is done. */
  #batch: Omit<SourceBatch, 'changes' | 'notes'> | undefined;
  /** All of the first read was tried; from then on every change has its line in the log. */
  #settled = false;

  /** Starts all parts. Throws what they throw, and then leaves the kernel as it was found. */
  constructor({ platform, config, version, openDatapath, openSource }: AgentParts) {
    this.#platform = platform;
    this.#config = config;
    this.#version = version;
    this.#started = new Date(platform.wallTimeMs()).toISOString();
    this.#events = new EventLog(platform);
    this.#addresses = ownAddresses(platform);
    this.#model = new ServiceModel({ nodeName: config.node, ownAddresses: this.#addresses });

    const opened: Disposable[] = [];
    const keep = <Part extends Disposable>(part: Part): Part => {
      opened.push(part);
      return part;
    };
    try {
      // Requests are answered from the event loop, that is after this constructor.
      this.handle = controlHandler({
        config,
        model: this.#model,
        table: this.#table,
        events: this.#events,
        reconciler: () => this.#reconciler,
        datapath: () => this.#datapath,
        status: () => this.#status(),
      });
      this.#server = keep(new ControlServer(platform, config.socket, this.handle));
      this.#datapath = keep(openDatapath());
      this.#reconciler = keep(
        new Reconciler(this.#table, this.#datapath, platform, {
          onStatus: (key, status) => this.#onStatus(key, status),
        }),
      );
      this.#addressWatch = keep(
        watchOwnAddresses(platform, this.#addresses, (addresses) => this.#onAddresses(addresses)),
      );
      this.#source = keep(openSource((batch) => this.#onBatch(batch)));
    } catch (error) {
      for (const part of opened.reverse()) part[Symbol.dispose]();
      throw error;
    }
    this.#events.add('info', 'agent', config.node, 'agent started', {
      version,
      manifests: config.manifests,
      socket: config.socket,
      adopted: this.#datapath.status().adopted,
    });
  }

  [Symbol.dispose](): void {
    this.#events.add('info', 'agent', this.#config.node, 'agent stops; what is in force stays');
    for (const part of [
      this.#source,
      this.#addressWatch,
      this.#reconciler,
      this.#datapath,
      this.#server,
    ]) {
      part[Symbol.dispose]();
    }
  }

  #onBatch({ changes, complete, problems, notes }: SourceBatch): void {
    for (const note of notes) this.#say('info', note);
    const known = new Set(this.#batch?.problems.map(whereAndWhat));
    for (const problem of problems) {
      if (!known.has(whereAndWhat(problem))) this.#say('warn', problem);
    }
    if (known.size > 0 && problems.length === 0) {
      this.#events.add('info', 'source', this.#config.manifests, 'all manifests can be used again');
    }
    this.#batch = { complete, problems };
    this.#write(this.#model.apply(changes));
    if (complete) this.#reconciler.setComplete();
    this.#settle();
  }

  #say(level: 'info' | 'warn', what: SourceProblem): void {
    const kind = level === 'info' ? 'source' : 'problem';
    this.#events.add(level, kind, what.file, whereAndWhat(what));
  }

  #onAddresses(addresses: readonly string[]): void {
    this.#addresses = addresses;
    const message = `own addresses are now ${addresses.join(', ') || 'none'}`;
    this.#events.add('info', 'agent', this.#config.node, message);
    this.#write(this.#model.setOwnAddresses(addresses));
  }

  #write(changes: RowChanges): void {
    this.#table.apply(changes);
    this.#reconciler.sync();
  }

  #onStatus(key: string, status: RowStatus | undefined): void {
    if (!status) {
      this.#events.add('info', 'removed', key, `${key} removed`);
    } else if (status.state === 'failed') {
      this.#events.add('warn', 'failed', key, `${key} failed: ${status.reason}`);
    } else if (status.state === 'done' && this.#settled) {
      const row = this.#table.get(key)!;
      const backends = row.backends.length;
      const message = `${key} in force with ${backends} ${backends === 1 ? 'backend' : 'backends'}`;
      this.#events.add('info', 'in-force', key, message);
      this.#sayRefused(row);
    }
    this.#settle();
  }

  /** Says once what the first read came to, instead of once per row. */
  #settle(): void {
    if (this.#settled || !this.#batch) return;
    const { done, failed, pending } = this.#reconciler.counts();
    if (pending > 0) return;
    this.#settled = true;
    const failures = failed > 0 ? `, ${failed} failed` : '';
    const what = `manifests read: ${done} ${done === 1 ? 'row' : 'rows'} in force${failures}`;
    if (this.#batch.complete) {
      this.#events.add('info', 'source', this.#config.manifests, what);
    } else {
      const caution = `${what}; not all can be used, so nothing that an earlier agent left is removed yet`;
      this.#events.add('warn', 'source', this.#config.manifests, caution);
    }
    for (const row of this.#table.rows()) this.#sayRefused(row);
  }

  #sayRefused({ key, problems }: ServiceRow): void {
    for (const problem of problems) this.#events.add('warn', 'problem', key, problem);
  }

  #status(): AgentStatus {
    const platform = this.#platform;
    const resident = residentBytes(platform);
    const { done, pending, failed } = this.#reconciler.counts();
    return {
      version: this.#version,
      node: this.#config.node,
      pid: platform.syscall(syscallNumbers(platform).getpid),
      started: this.#started,
      ...(resident === undefined ? {} : { residentBytes: resident }),
      addresses: this.#addresses,
      source: {
        path: this.#config.manifests,
        complete: this.#batch?.complete ?? false,
        problems: this.#batch?.problems ?? [],
      },
      rows: { done, pending, failed },
      datapath: this.#datapath.status(),
      refusals: this.#datapath.refusals(),
    };
  }
}

function whereAndWhat({ file, line, message }: SourceProblem): string {
  return line > 0 ? `${file}:${line}: ${message}` : `${file}: ${message}`;
}
