import { type ObjectChange, type RowChanges, ServiceModel, type ServiceRow } from '@heddle/model';
import { Reconciler, type RowStatus, Table } from '@heddle/state';
import { type Platform, syscallNumbers } from '@heddle/sys';
import { controlHandler } from './control/handler.ts';
import { ControlServer } from './control/server.ts';
import type { DatapathPart } from './datapath-part.ts';
import { EventLog } from './events.ts';
import { residentBytes } from './machine.ts';
import { ownAddresses, watchOwnAddresses } from './own-addresses.ts';
import type { SourcePart, SourceSink } from './source-part.ts';
import type { AgentStatus, EffectiveConfig } from './status.ts';

export interface AgentParts {
  readonly platform: Platform;
  readonly config: EffectiveConfig;
  /** Of Heddle. */
  readonly version: string;
  /** Called once the control socket is taken, so that no two agents work on the same pins. */
  readonly openDatapath: () => DatapathPart;
  /** Called last; what it finds goes to the sink. */
  readonly openSource: (sink: SourceSink) => SourcePart;
}

/**
 * The agent: what the source says becomes rows, what changed of the rows is written to the kernel,
 * and nothing flows back but facts. Disposing it ends the process' part only: maps, programs and
 * links stay in force in the kernel, where the next agent finds them.
 */
export class Agent implements Disposable {
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
  readonly #source: SourcePart;
  readonly #addressWatch: Disposable;
  #addresses: readonly string[];
  /** The source's first complete read is done. */
  #complete = false;
  /** All of the first complete read was tried; from then on every change has its line in the log. */
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
      const handler = controlHandler({
        config,
        model: this.#model,
        table: this.#table,
        events: this.#events,
        reconciler: () => this.#reconciler,
        datapath: () => this.#datapath,
        status: () => this.#status(),
      });
      this.#server = keep(new ControlServer(platform, config.socket, handler));
      this.#datapath = keep(openDatapath());
      this.#reconciler = keep(
        new Reconciler(this.#table, this.#datapath, platform, {
          onStatus: (key, status) => this.#onStatus(key, status),
        }),
      );
      this.#addressWatch = keep(
        watchOwnAddresses(platform, this.#addresses, (addresses) => this.#onAddresses(addresses)),
      );
      this.#source = keep(
        openSource({
          changed: (changes) => this.#onObjects(changes),
          complete: () => this.#onComplete(),
          note: (subject, message) => this.#events.add('warn', 'source', subject, message),
        }),
      );
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

  #onObjects(changes: readonly ObjectChange[]): void {
    for (const change of changes) {
      if (change.op !== 'invalid') continue;
      this.#events.add('warn', 'problem', `${change.namespace}/${change.name}`, change.reason);
    }
    this.#write(this.#model.apply(changes));
  }

  #onComplete(): void {
    this.#complete = true;
    this.#reconciler.setComplete();
    this.#settle();
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
    this.#settle();
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
      for (const problem of row.problems) this.#events.add('warn', 'problem', key, problem);
    }
    this.#settle();
  }

  /** Says once that all of the first complete read is in force, instead of once per row. */
  #settle(): void {
    if (this.#settled || !this.#complete) return;
    const { done, failed, pending } = this.#reconciler.counts();
    if (pending > 0) return;
    this.#settled = true;
    const failures = failed > 0 ? `, ${failed} failed` : '';
    const message = `first read complete: ${done} rows in force${failures}`;
    this.#events.add('info', 'source', this.#config.manifests, message);
    for (const row of this.#table.rows()) {
      for (const problem of row.problems) this.#events.add('warn', 'problem', row.key, problem);
    }
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
        complete: this.#complete,
        problems: this.#source.problems(),
      },
      rows: { done, pending, failed },
      datapath: this.#datapath.status(),
      refusals: this.#datapath.refusals(),
    };
  }
}
